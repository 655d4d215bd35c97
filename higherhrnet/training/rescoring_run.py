"""`higherhrnet train-rescore`: a model and annotated images → its rescoring network."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from higherhrnet.arrays import BoolArray
from higherhrnet.config.rescoring import RescoringNetwork, RescoringTraining
from higherhrnet.decoding.rescore import new_scores
from higherhrnet.errors import InputError, require
from higherhrnet.evaluation.pairing import PairedResults, pair_results
from higherhrnet.evaluation.precision_recall import precision_recall_by_area
from higherhrnet.evaluation.predict_dataset import predict_dataset
from higherhrnet.inference.predictor import Predictor
from higherhrnet.io.datasets.coco import Annotations
from higherhrnet.messages import counted
from higherhrnet.poses.keypoint_names import respell
from higherhrnet.training.rescore_pairs import (
    PosePairs,
    collect_context,
    collect_pairs,
    require_size,
    result_poses,
)
from higherhrnet.training.rescoring import initial_network, network_inputs, train_network


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

    A network with context is trained with `oks_nms` and `max_results` off, since rescoring precedes
    them; people below the minimum score are part of the context only.

    Args:
        predictor: a model that predicts offsets; a rescoring network that it has is not used.
        annotations: the annotated people, with the keypoints of the model.
        images: the folder or .zip file of the images.
        config: the settings of the training.
        folder: the folder into which predictions are written as they are made; None for none.
        resume: continue an earlier run into the same folder.

    Raises:
        InputError: the model predicts no offsets or other keypoints, finds nobody in annotated
            images, or has a skeleton without limbs; the network has context, but an image has no
            annotated size, or `config.reference` is set; or an error of `predict_dataset`.
    """
    _require_offsets(predictor, annotations)
    context = config.has_context(predictor.header.model.head)
    network = initial_network(predictor.header.skeleton, config.seed, context)
    decode = predictor.config.decode
    min_score = decode.min_score
    decode = replace(decode, offsets=replace(decode.offsets, rescore=False))
    if context:
        for image in annotations.images:  # reported before the predictions are made
            require_size(image, annotations)
        decode = replace(decode, min_score=0, oks_nms=None, max_results=None)
    predictor = predictor.with_config(replace(predictor.config, decode=decode))
    results, failures = predict_dataset(predictor, annotations, images, folder, resume)
    paired = pair_results(annotations, results)
    pairs = collect_pairs(paired, reference=config.reference, context=context)
    held_out = _held_out(pairs, config)
    chosen = pairs.select(~held_out[pairs.images] & (pairs.scores >= min_score))
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
        header.model.head != "tags",
        "only models that predict offsets (--model.head offsets or tags-and-offsets) have a "
        f"rescoring network; this one has --model.head {header.model.head}",
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
    results = [result for of_image in paired.results_by_image for result in of_image]
    poses = result_poses(results, paired.annotations.skeleton)
    context = np.concatenate(collect_context(paired, network.context))
    scores = np.array([float(result["score"]) for result in results])
    new = new_scores(scores, network_inputs(network, poses, context), network)
    rescored = [r | {"score": float(score)} for r, score in zip(results, new, strict=True)]
    ap = [
        precision_recall_by_area(p, indices)["all"].ap()
        for p in (paired, replace(paired, results=rescored))
    ]
    chosen = pairs.select(images[pairs.images])
    inputs = network_inputs(network, chosen.poses, chosen.context)
    compared = chosen.scores, new_scores(chosen.scores, inputs, network)
    correlation = [float(np.corrcoef(s, chosen.similarity)[0, 1]) for s in compared]
    return HeldOutAccuracy(len(indices), (ap[0], ap[1]), (correlation[0], correlation[1]))
