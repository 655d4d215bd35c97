"""Training of the rescoring network, against the code of DEKR's authors and on drawn scenes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from higherhrnet.config.rescoring import RescoringTraining
from higherhrnet.decoding.rescore import pose_features, predict_accuracy
from higherhrnet.errors import InputError
from higherhrnet.evaluation.metrics import compute_metrics
from higherhrnet.evaluation.pairing import PairedResults, pair_results
from higherhrnet.inference.predictor import Predictor
from higherhrnet.io.datasets.coco import load_annotations, load_predictions
from higherhrnet.io.weights import read_weights
from higherhrnet.poses.skeleton import Skeleton
from higherhrnet.poses.skeletons import COCO, CROWDPOSE
from higherhrnet.synthetic.scenes import write_scenes
from higherhrnet.training.rescore_pairs import PosePairs, collect_pairs
from higherhrnet.training.rescoring import fit, initial_network, network_inputs, train_network
from higherhrnet.training.rescoring_run import measure
from tests.conftest import ModelFiles, RunMain
from tests.decoding.test_offset_decoder import rescoring, seed
from tests.training.conftest import SIZE


def paired_results(folder: Path, truth: Any, results: Any) -> PairedResults:  # noqa: ANN401
    """Writes annotations and results of COCO's keypoints, and reads them as a user's files."""
    for name, content in (("truth", truth), ("results", results)):
        (folder / f"{name}.json").write_text(json.dumps(content))
    annotations = load_annotations(folder / "truth.json", COCO)
    return pair_results(annotations, load_predictions(folder / "results.json"))


@pytest.mark.golden
def test_training_pairs_equal_the_reference(golden_dekr: Path, tmp_path: Path) -> None:
    arrays = np.load(golden_dekr / "rescore.npz")
    truth, results = (json.loads(str(arrays[f"pairs/{name}"])) for name in ("truth", "results"))
    pairs = collect_pairs(paired_results(tmp_path, truth, results), reference=True)
    np.testing.assert_allclose(pairs.poses[..., :2], arrays["pairs/poses"], atol=1e-9)
    np.testing.assert_allclose(pairs.poses[..., 2], arrays["pairs/scores"], atol=1e-9)
    np.testing.assert_allclose(pairs.similarity, arrays["pairs/oks"], atol=1e-9)


@pytest.mark.golden
@pytest.mark.parametrize("case", ["coco", "crowdpose"])
def test_losses_and_predictions_of_a_training_equal_the_reference(
    case: str, golden_dekr: Path
) -> None:
    arrays = np.load(golden_dekr / "rescore.npz")
    poses = arrays[f"{case}/fit/poses"]
    network = rescoring(poses.shape[1], seed(golden_dekr))
    features = pose_features(poses[..., :2], poses[..., 2].astype(np.float32), network)
    targets, orders = arrays[f"{case}/fit/target"][:, 0], list(arrays[f"{case}/fit/order"])
    trained, losses = fit(network, features, targets, orders, 16, 1e-3)
    np.testing.assert_allclose(losses, arrays[f"{case}/fit/losses"], rtol=1e-5)
    answers = arrays[f"{case}/fit/answers"][:, 0]
    np.testing.assert_allclose(predict_accuracy(features, trained), answers, atol=1e-4)


def test_initial_networks_have_the_size_of_the_published_ones() -> None:
    for skeleton, count in ((COCO, 85_249), (CROWDPOSE, 81_409)):
        layers = initial_network(skeleton, 0).layers
        assert sum(part.size for layer in layers for part in layer) == count
        for weight, bias in layers:
            assert not bias.any()
            limit = np.sqrt(3 / weight.shape[1])  # Kaiming's uniform distribution with a = 1
            assert 0.95 * limit < np.abs(weight).max() <= limit * 1.000001
    again, other = initial_network(COCO, 0), initial_network(COCO, 1)
    assert again == initial_network(COCO, 0) != other


def test_other_skeletons_are_measured_by_their_limbs() -> None:
    limbs = (("tip", "middle"), ("middle", "end"))
    pencil = Skeleton("pencil", ("tip", "middle", "end"), limbs, (0.1,) * 3)
    network = initial_network(pencil, 0)
    assert network.links == ((0, 1), (1, 2)) and network.unit_links == (0, 1)
    with pytest.raises(InputError, match="pencil has no limbs"):
        initial_network(replace(pencil, limbs=()), 0)


def noisy_results(truth: dict[str, Any], rng: np.random.Generator) -> list[dict[str, Any]]:
    """Results whose keypoints are wrong by any amount, which their own scores do not tell.

    Wrong poses have unusual proportions and lower scores of the keypoints.
    """
    results = []
    for person in truth["annotations"]:
        if not person["num_keypoints"]:
            continue
        triples = np.reshape(person["keypoints"], (-1, 3)).astype(float)
        error = rng.choice([0.02, 0.08, 0.3])
        triples[:, :2] += rng.normal(0, error * person["area"] ** 0.5, (len(triples), 2))
        triples[:, 2] = (0.9 - error + rng.normal(0, 0.1, len(triples))).clip(0.01, 1)
        results.append(
            {
                "image_id": person["image_id"],
                "category_id": 1,
                "keypoints": triples.ravel().tolist(),
                "score": float(rng.random()),
            }
        )
    return results


def scene_results(folder: Path, number: int, *, scenes: int) -> PairedResults:
    path = write_scenes(folder / str(number), scenes, number, height=SIZE, width=SIZE, crowd=0)
    truth = json.loads(path.read_text())
    return paired_results(path.parent, truth, noisy_results(truth, np.random.default_rng(number)))


@pytest.mark.slow
@pytest.mark.parametrize("context", [False, True])
def test_rescoring_improves_the_scores_of_poses_in_unseen_scenes(
    context: bool, tmp_path: Path
) -> None:
    pairs = collect_pairs(scene_results(tmp_path, 1, scenes=100), context=context)
    network = initial_network(COCO, 0, context)
    network = train_network(network, pairs, RescoringTraining(epochs=40))
    unseen = scene_results(tmp_path, 2, scenes=40)
    new_pairs = collect_pairs(unseen, context=context)
    images = np.ones(len(unseen.images), bool)
    accuracy = measure(network, unseen, new_pairs, images)
    assert accuracy.images == 40
    assert accuracy.ap[0] == pytest.approx(compute_metrics(unseen)["AP"])
    assert accuracy.ap[1] > accuracy.ap[0] + 0.05
    assert accuracy.correlation[0] < 0.2 and accuracy.correlation[1] > 0.5


def test_networks_with_context_learn_the_fraction_of_thresholds_from_the_context() -> None:
    """All poses are equal, and their similarity is one of the inputs of the context."""
    rng = np.random.default_rng(0)

    def equal_poses() -> PosePairs:
        poses, context = np.ones((300, 17, 3)), rng.random((300, 5), np.float32)
        similarity = context[:, 2].astype(float)
        return PosePairs(poses, np.ones(300), similarity, np.arange(300), context)

    network = initial_network(COCO, 0, context=True)
    network = train_network(network, equal_poses(), RescoringTraining(epochs=60))
    unseen = equal_poses()
    predictions = predict_accuracy(network_inputs(network, unseen.poses, unseen.context), network)
    thresholds = np.arange(0.5, 0.96, 0.05)
    passed = [float(np.mean(similarity >= thresholds)) for similarity in unseen.similarity]
    assert np.corrcoef(predictions, passed)[0, 1] > 0.95
    assert np.abs(predictions - passed).mean() < 0.08


def test_poses_that_may_be_of_people_without_keypoints_are_not_trained_on(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    shape = rng.uniform(0, 40, (17, 2)).round()
    shape[:2] = [0, 0], [40, 40]
    shape += 20 - shape.mean(0)  # the mean keypoint is at (20, 20)

    def at(x: float, y: float) -> list[float]:
        return (
            np.column_stack([shape + np.array([x - 20, y - 20]), np.full(17, 2)]).ravel().tolist()
        )

    person = {
        "image_id": 1, "category_id": 1, "keypoints": at(50, 50), "num_keypoints": 17,
        "area": 1600, "bbox": [30, 30, 40, 40], "iscrowd": 0,
    }  # fmt: skip
    others = {"keypoints": [0] * 51, "num_keypoints": 0, "bbox": [200, 100, 40, 80]}
    truth: dict[str, Any] = {
        "images": [{"id": i, "file_name": f"{i}.jpg", "width": 640, "height": 480} for i in (1, 2)],
        "annotations": [
            person | {"id": 1},
            person | others | {"id": 2},
            person | others | {"id": 3, "iscrowd": 1, "bbox": [400, 100, 40, 80]},
            person | others | {"id": 4, "image_id": 2},
        ],
        "categories": [COCO.to_category()],
    }
    centers = {
        1: [
            (50, 50), (300, 300), (181, 61), (259, 219), (179, 140), (261, 140), (220, 59),
            (220, 221), (420, 140),
        ],
        2: [(220, 140), (50, 50)],
    }  # fmt: skip
    results = [
        {"image_id": image, "category_id": 1, "keypoints": at(*center), "score": 1 - i / 20}
        for image, people in centers.items() for i, center in enumerate(people)
    ]  # fmt: skip
    paired = paired_results(tmp_path, truth, results)
    pairs = collect_pairs(paired, context=True)
    middles = pairs.poses[..., :2].mean(1).round(6)
    kept = {image: middles[pairs.images == image - 1].tolist() for image in centers}
    # The boxes are extended by 20 and 40 pixels: to (180, 60) and (260, 220).
    assert kept[1] == [[50, 50], [300, 300], [179, 140], [261, 140], [220, 59], [220, 221]]
    assert kept[2] == [[50, 50]]
    np.testing.assert_allclose(pairs.similarity, [1, 0, 0, 0, 0, 0, 0], atol=1e-6)
    # The context is that of all results, and the sides are those of the image.
    for image, people in centers.items():
        chosen = pairs.context[pairs.images == image - 1]
        np.testing.assert_allclose(chosen[:, 4], np.log(len(people)), rtol=1e-6)
        np.testing.assert_allclose(chosen[:, 1], np.log(pose_size(shape) / 480), rtol=1e-6)
    assert len(collect_pairs(paired).poses) == len(results)
    del truth["images"][0]["width"]
    with pytest.raises(InputError, match=r"1\.jpg has no width and height"):
        collect_pairs(paired_results(tmp_path, truth, results), context=True)


def pose_size(shape: np.ndarray) -> float:
    return float(np.sqrt(np.prod(shape.max(0) - shape.min(0))))


def test_pairs_without_the_faults_of_the_reference(tmp_path: Path) -> None:
    """One pose each, a perfect pose has 1, and crowds count only where nobody else is."""
    rng = np.random.default_rng(0)
    keypoints = np.column_stack([rng.uniform(20, 80, (17, 2)).round(), np.full(17, 2)])
    person = {
        "id": 1, "image_id": 1, "category_id": 1, "keypoints": keypoints.ravel().tolist(),
        "num_keypoints": 17, "area": 3600, "bbox": [20, 20, 60, 60], "iscrowd": 0,
    }  # fmt: skip
    crowd = person | {
        "keypoints": [0] * 51, "num_keypoints": 0, "iscrowd": 1, "bbox": [0, 0, 100, 100],
    }  # fmt: skip
    truth = {
        "images": [{"id": i, "file_name": f"{i}.jpg"} for i in (1, 2, 3)],
        "annotations": [person, crowd | {"id": 2}, crowd | {"id": 3, "image_id": 2}],
        "categories": [COCO.to_category()],
    }
    result = {"category_id": 1, "keypoints": person["keypoints"], "score": 0.5}
    far = np.add(keypoints, [10_000, 0, 0])
    results = [
        result | {"image_id": 1},
        result | {"image_id": 1, "keypoints": far.ravel().tolist(), "score": 0.9},
        result | {"image_id": 2},  # only a crowd is annotated
        result | {"image_id": 3},  # nobody is annotated
    ]
    paired = paired_results(tmp_path, truth, results)
    pairs = collect_pairs(paired)
    assert pairs.scores.tolist() == [0.9, 0.5, 0.5] and pairs.images.tolist() == [0, 0, 1]
    np.testing.assert_allclose(pairs.similarity, [0, 1, 1])
    reference = collect_pairs(paired, reference=True)
    assert len(reference.poses) == 9
    assert not np.isin(reference.similarity, 1).any()  # a perfect 1 became 0


@pytest.fixture
def model(small_offset_model: ModelFiles) -> Path:
    return small_offset_model.safetensors


def test_the_command_stores_the_network_in_the_model(
    model: Path, scenes: Path, tmp_path: Path, run_main: RunMain
) -> None:
    out = tmp_path / "rescored.safetensors"
    arguments = (
        "train-rescore", "--model", model, "--engine", "torch", "--annotations", scenes,
        "--out", out, "--epochs", 5, "--results", tmp_path / "results",
    )  # fmt: skip
    result = run_main(*arguments)
    assert result.returncode == 0, result.stderr
    assert "held-out image" in result.stdout and "trained on" in result.stdout
    weights, header = read_weights(out)
    before, old_header = read_weights(model)
    assert header.rescoring and not old_header.rescoring
    assert replace(header, rescoring=None) == old_header
    assert all(np.array_equal(weights[name], before[name]) for name in before)
    image = sorted((scenes.parent / "images").iterdir())[0]
    poses = Predictor.load(out, engine="torch")(image)
    plain = Predictor.load(model, engine="torch")(image)
    features = pose_features(poses.keypoints, poses.keypoint_scores, header.rescoring)
    expected = plain.scores * predict_accuracy(features, header.rescoring)
    assert len(poses) == len(plain) > 0
    np.testing.assert_allclose(poses.scores, expected, rtol=1e-3, atol=1e-5)
    resumed = run_main(*arguments, "--resume")  # trains on the recorded predictions
    assert resumed.returncode == 0 and read_weights(out)[1] == header


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--resume"], "--resume needs --results"),
        (["--out", "a.onnx"], "a.onnx: --out must end in .safetensors"),
        (["--annotations", "missing.json"], "missing.json: "),
        (["--holdout", "1"], "holdout must be from 0 to 0.9"),
        (["--min-score", "0.999"], "finds nobody in the annotated images"),
        (["--min-score", "0.999", "--inputs", "context"], "finds nobody in the annotated images"),
        (["--inputs", "context", "--reference"], "without context; add --inputs pose"),
    ],
)
def test_invalid_inputs_are_reported_in_one_line(
    arguments: list[str], message: str, model: Path, scenes: Path, tmp_path: Path,
    run_main: RunMain,
) -> None:  # fmt: skip
    out = tmp_path / "out.safetensors"
    result = run_main(
        "train-rescore", "--model", model, "--engine", "torch", "--annotations", scenes,
        "--out", out, *arguments,
    )  # fmt: skip
    text = " ".join(result.stderr.replace("│", " ").split())
    assert result.returncode in (1, 2) and message in text
    assert result.returncode == 2 or result.stderr.count("higherhrnet: ") == 1
    assert not out.exists()


def test_models_without_offsets_have_no_rescoring_network(
    small_model: ModelFiles, scenes: Path, tmp_path: Path, run_main: RunMain
) -> None:
    result = run_main(
        "train-rescore", "--model", small_model.safetensors, "--engine", "torch",
        "--annotations", scenes, "--out", tmp_path / "out.safetensors",
    )  # fmt: skip
    assert result.returncode == 1 and "only models that predict offsets" in result.stderr


def test_other_keypoints_than_those_of_the_model_are_rejected(
    model: Path, tmp_path: Path, run_main: RunMain
) -> None:
    arms = Skeleton("arms", ("nose", "left_wrist", "right_wrist"), (), (0.05,) * 3)
    path = write_scenes(tmp_path / "arms", 2, height=SIZE, width=SIZE, skeleton=arms)
    result = run_main(
        "train-rescore", "--model", model, "--engine", "torch", "--annotations", path,
        "--out", tmp_path / "out.safetensors",
    )  # fmt: skip
    assert result.returncode == 1 and "its keypoints are not those of the model" in result.stderr
