"""`higherhrnet train-rescore`: a model and annotated images → its rescoring network."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from higherhrnet.arrays import BoolArray, DoubleArray, FloatArray
from higherhrnet.config.rescoring import RescoringNetwork, RescoringTraining
from higherhrnet.decoding.offsets.rescore import pose_features, predict_similarity
from higherhrnet.errors import InputError, require
from higherhrnet.evaluation.pairing import PairedResults, pair_results
from higherhrnet.evaluation.precision_recall import precision_recall_by_area
from higherhrnet.evaluation.predict_dataset import predict_dataset
from higherhrnet.inference.predictor import Predictor
from higherhrnet.io.datasets.coco import Annotations
from higherhrnet.messages import counted
from higherhrnet.poses.keypoint_names import respell
from higherhrnet.training.rescore_pairs import PosePairs, collect_pairs
from higherhrnet.training.rescoring import initial_network, train_network


@dataclass(frozen=True)
class HeldOutAccuracy:
    """The scores of the poses in images that were not used for training, and their accuracy."""

    images: int
    """The number of images."""
    ap: tuple[float, float]
    """AP without and with rescoring; −1 if no person in these images is evaluated."""
    correlation: tuple[float, float]
    """Pearson's correlation of the scores with the OKS, without and with rescoring."""

    def __str__(self) -> str:
        changes = [f"{before:.3f} → {after:.3f}" for before, after in (self.ap, self.correlation)]
        return (
            f"on {self.images} held-out images: AP {changes[0]}, correlation of scores with OKS "
            f"{changes[1]}"
        )


@dataclass(frozen=True)
class RescoringReport:
    """What a training of a rescoring network used, and its effect."""

    poses: int
    """The number of poses on which the network was trained."""
    failures: list[str]
    """A message for each image that could not be read."""
    held_out: HeldOutAccuracy | None
    """The effect on images that were not used for training, if there are any."""

    def __str__(self) -> str:
        lines = [f"trained on {counted(self.poses, 'pose')}", str(self.held_out or "")]
        if self.failures:
            lines.append(f"{counted(len(self.failures), 'image')} could not be read")
        return "\n".join(filter(None, lines))


def train_rescoring(
    predictor: Predictor,
    annotations: Annotations,
    images: Path,
    config: RescoringTraining,
    folder: Path | None = None,
    resume: bool = False,
) -> tuple[RescoringNetwork, RescoringReport]:
    """Predicts the poses in annotated images, and trains a rescoring network with them.

    Args:
        predictor: a model that predicts offsets; a rescoring network that it has is not used.
        annotations: the annotated people, with the keypoints of the model.
        images: the folder or .zip file of the images.
        config: the settings of the training.
        folder: the folder into which predictions are written as they are made; None for none.
        resume: continue an earlier run into the same folder.

    Raises:
        InputError: the model predicts tags or other keypoints, finds nobody in annotated images, or
            has a skeleton without limbs; or an error of `predict_dataset`.
    """
    _require_offsets(predictor, annotations)
    network = initial_network(predictor.header.skeleton, config.seed)
    decode = predictor.config.decode
    offsets = replace(decode.offsets, rescore=False)
    predictor = predictor.with_config(
        replace(predictor.config, decode=replace(decode, offsets=offsets))
    )
    results, failures = predict_dataset(predictor, annotations, images, folder, resume)
    paired = pair_results(annotations, results)
    pairs = collect_pairs(paired, reference=config.reference)
    held_out = _held_out(pairs, config)
    chosen = pairs.select(~held_out[pairs.images])
    if not len(chosen.poses):
        raise InputError(
            f"{annotations.path}: the model finds nobody in the annotated images, so there are no "
            "poses to train on; lower --min-score, or train the model for longer"
        )
    network = train_network(network, chosen, config)
    accuracy = measure(network, paired, pairs, held_out) if held_out.any() else None
    return network, RescoringReport(len(chosen.poses), failures, accuracy)


def _require_offsets(predictor: Predictor, annotations: Annotations) -> None:
    """Raises InputError if the model predicts no offsets, or other keypoints than annotated."""
    header = predictor.header
    require(
        header.model.head == "offsets",
        "only models that predict offsets (DEKR) have a rescoring network; this one predicts "
        f"{header.model.head}",
    )
    names = annotations.skeleton.names
    require(
        tuple(respell(names, header.skeleton.names)[name] for name in names)
        == header.skeleton.names,
        f"{annotations.path}: its keypoints are not those of the model, in the same order: "
        f"{', '.join(header.skeleton.names)}",
    )


def _held_out(pairs: PosePairs, config: RescoringTraining) -> BoolArray:
    """Chooses the images with poses that are not used for training: one bool for each image."""
    count = int(pairs.images.max(initial=-1)) + 1
    with_poses = np.unique(pairs.images)
    chosen = np.random.default_rng(config.seed).permutation(with_poses)
    held_out = np.zeros(count, bool)
    held_out[chosen[: round(config.holdout * len(with_poses))]] = True
    return held_out


def measure(
    network: RescoringNetwork, paired: PairedResults, pairs: PosePairs, images: BoolArray
) -> HeldOutAccuracy:
    """Measures the accuracy of scores with and without rescoring.

    Args:
        network: the rescoring network.
        paired: the results, whose scores are without rescoring, and the annotations.
        pairs: the poses of the results, and their similarity to the annotated people.
        images: whether each image, by its index, is measured.
    """
    indices = np.flatnonzero(images).tolist()
    triples = [np.reshape(result["keypoints"], (-1, 3)) for result in paired.results]
    rescored = [
        result | {"score": float(result["score"] * factor)}
        for result, factor in zip(paired.results, _predict(network, np.array(triples)), strict=True)
    ]
    ap = [
        precision_recall_by_area(p, indices)["all"].ap()
        for p in (paired, replace(paired, results=rescored))
    ]
    chosen = pairs.select(images[pairs.images])
    compared = chosen.scores, chosen.scores * _predict(network, chosen.poses)
    correlation = [float(np.corrcoef(s, chosen.similarity)[0, 1]) for s in compared]
    return HeldOutAccuracy(len(indices), (ap[0], ap[1]), (correlation[0], correlation[1]))


def _predict(network: RescoringNetwork, poses: DoubleArray) -> FloatArray:
    """Predicts the similarity of (N, K, 3) poses with the scores of their keypoints: (N,)."""
    features = pose_features(poses[..., :2], poses[..., 2].astype(np.float32), network)
    return predict_similarity(features, network)
