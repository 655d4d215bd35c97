"""Decoding of perfect maps returns the annotated people, in both conventions.

This tests resizing, targets, aggregation, grouping and evaluation together, without errors of a
network. The reference convention rounds keypoints to cells, which reduces AP slightly.
"""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch")

from higherhrnet.config.header import Header
from higherhrnet.config.inference import InferenceConfig
from higherhrnet.config.model import InputConfig
from higherhrnet.engines.torch import TorchEngine
from higherhrnet.evaluation.metrics import evaluate_results
from higherhrnet.geometry import FIRST_PIXEL_CENTER, Convention, resize_for_network, transform
from higherhrnet.inference.predictor import Predictor
from higherhrnet.inference.processing import PreprocessedImage
from higherhrnet.io.datasets.coco import Annotations, Entry, load_annotations
from higherhrnet.network.higherhrnet import HigherHRNet
from higherhrnet.synthetic.scenes import write_scenes
from higherhrnet.training.targets import render_heatmaps, to_map_coordinates

Keypoints = NDArray[np.float64]
"""(1, P, K, 3)."""

COCO_DEV = Path(__file__).parents[2] / "shared" / "data" / "coco_dev" / "annotations.json"


def perfect_results(truth: Annotations, size: int, convention: Convention) -> list[Entry]:
    """Decodes perfect maps of the annotated people, at an input size."""
    header = Header(
        input=InputConfig(size, convention=convention), inference=InferenceConfig(flip=False)
    )
    predictor = Predictor(TorchEngine(HigherHRNet(4), "cpu"), header)  # the engine is not called
    results: list[Entry] = []
    for image in truth.images:
        people = [p["keypoints"] for p in truth.people if p["image_id"] == image["id"]]
        resize = resize_for_network(image["height"], image["width"], size, convention=convention)
        keypoints = np.array(people, float).reshape(1, -1, 17, 3)
        positions = keypoints[..., :2] + FIRST_PIXEL_CENTER[convention]
        keypoints[..., :2] = transform(positions, resize.matrix)
        maps = perfect_maps(keypoints, resize.height, resize.width, convention)
        poses = predictor.postprocess(PreprocessedImage({1.0: resize}, {}), {1.0: maps})
        results += poses.to_coco(image["id"], truth.category_id)
    return results


def perfect_maps(
    keypoints: Keypoints, height: int, width: int, convention: Convention
) -> list[NDArray[np.float32]]:
    """Renders heatmaps, and in each cell the tag of the person whose heatmap is highest there."""

    def render(people: Keypoints, stride: int) -> NDArray[np.float32]:
        flipped = torch.tensor([False])
        cells = to_map_coordinates(
            torch.from_numpy(people), flipped, stride, width // stride, convention
        )
        maps = render_heatmaps(cells, height // stride, width // stride, 2.0, convention)
        return np.asarray(maps.numpy(), np.float32)

    coarse = render(keypoints, 4)
    by_person = [render(keypoints[:, [person]], 4) for person in range(keypoints.shape[1])]
    tags = 3 * np.argmax([np.zeros_like(coarse), *by_person], 0).astype(np.float32)
    return [np.concatenate([coarse, tags], 1), render(keypoints, 2)]


@pytest.fixture(scope="module")
def crowds(tmp_path_factory: pytest.TempPathFactory) -> Annotations:
    """Two to eight people of all sizes, who hide each other, in images of the size of COCO's."""
    folder = tmp_path_factory.mktemp("crowds")
    return load_annotations(write_scenes(folder, 10, seed=9, height=427, width=640, people=(2, 8)))


@pytest.mark.parametrize(("convention", "min_ap"), [("reference", 0.95), ("unbiased", 0.99)])
def test_synthetic_people_are_restored(
    tmp_path: Path, convention: Convention, min_ap: float
) -> None:
    truth = load_annotations(write_scenes(tmp_path, 12, seed=5, height=240, width=320))
    metrics = evaluate_results(truth, perfect_results(truth, 256, convention))
    assert metrics["AP"] >= min_ap, metrics


@pytest.mark.parametrize(
    ("size", "convention", "min_ap"),
    [
        (256, "reference", 0.95),
        (256, "unbiased", 0.99),
        pytest.param(512, "reference", 0.99, marks=pytest.mark.slow),
    ],
)
def test_people_in_crowds_are_restored(
    crowds: Annotations, size: int, convention: Convention, min_ap: float
) -> None:
    metrics = evaluate_results(crowds, perfect_results(crowds, size, convention))
    assert metrics["AP"] >= min_ap, metrics


@pytest.mark.slow
@pytest.mark.skipif(not COCO_DEV.is_file(), reason="needs ../shared/data/coco_dev")
@pytest.mark.parametrize(
    ("size", "convention", "min_ap"),
    [(256, "reference", 0.92), (256, "unbiased", 0.98), (512, "reference", 0.975)],
)
def test_annotated_people_are_restored(size: int, convention: Convention, min_ap: float) -> None:
    truth = load_annotations(COCO_DEV)
    truth = truth.subset(truth.images[:60])
    metrics = evaluate_results(truth, perfect_results(truth, size, convention))
    assert metrics["AP"] >= min_ap, metrics
