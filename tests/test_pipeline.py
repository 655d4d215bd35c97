"""The pipeline's inverse: people → perfect maps → decoding → the same people, in both conventions.

What resizing, targets, aggregation, grouping and evaluation make of annotated people where the
network makes no mistake. The original's convention rounds keypoints to cells, so it loses a little.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch")

from higherhrnet.config import Convention, Header, InferenceConfig, InputConfig  # noqa: E402
from higherhrnet.engines.torch import TorchEngine  # noqa: E402
from higherhrnet.evaluation.metrics import evaluate_results  # noqa: E402
from higherhrnet.geometry import FIRST_PIXEL_CENTER, resize_for_network, transform  # noqa: E402
from higherhrnet.inference.predictor import Predictor, PreprocessedImage  # noqa: E402
from higherhrnet.io.coco import Annotations, Entry, load_annotations  # noqa: E402
from higherhrnet.network.higherhrnet import HigherHRNet  # noqa: E402
from higherhrnet.synthetic.scenes import write_scenes  # noqa: E402
from higherhrnet.training.targets import render_heatmaps, to_map_coordinates  # noqa: E402

Keypoints = NDArray[np.float64]
"""(1, P, K, 3)."""

COCO_DEV = Path(__file__).parents[2] / "shared" / "data" / "coco_dev" / "annotations.json"


def perfect_results(truth: Annotations, size: int, convention: Convention) -> list[Entry]:
    """What a network that makes no mistake would let us find, at this input size."""
    header = Header(
        input=InputConfig(size, convention=convention), inference=InferenceConfig(flip=False)
    )
    predictor = Predictor(TorchEngine(HigherHRNet(4), "cpu"), header)  # whose engine is not asked
    results: list[Entry] = []
    for image in truth.images:
        posed = [p["keypoints"] for p in truth.people if p["image_id"] == image["id"]]
        resize = resize_for_network(image["height"], image["width"], size, convention=convention)
        keypoints = np.array(posed, float).reshape(1, -1, 17, 3)
        places = keypoints[..., :2] + FIRST_PIXEL_CENTER[convention]
        keypoints[..., :2] = transform(places, resize.matrix)
        maps = perfect_maps(keypoints, resize.height, resize.width, convention)
        poses = predictor.postprocess(PreprocessedImage({1.0: resize}, {}), {1.0: maps})
        results += poses.to_coco(image["id"], truth.category_id)
    return results


def perfect_maps(
    keypoints: Keypoints, height: int, width: int, convention: Convention
) -> list[NDArray[np.float32]]:
    """A network's output: a tag is the person's whose heatmap is the highest there."""

    def render(people: Keypoints, stride: int) -> NDArray[np.float32]:
        still = torch.tensor([False])
        cells = to_map_coordinates(
            torch.from_numpy(people), still, stride, width // stride, convention
        )
        maps = render_heatmaps(cells, height // stride, width // stride, 2.0, convention)
        return np.asarray(maps.numpy(), np.float32)

    coarse = render(keypoints, 4)
    each = [render(keypoints[:, [person]], 4) for person in range(keypoints.shape[1])]
    owners = np.argmax([np.zeros_like(coarse), *each], 0)
    return [np.concatenate([coarse, 3 * owners.astype(np.float32)], 1), render(keypoints, 2)]


@pytest.mark.parametrize(("convention", "least"), [("reference", 0.95), ("unbiased", 0.99)])
def test_drawn_people_come_back(tmp_path: Path, convention: Convention, least: float) -> None:
    truth = load_annotations(write_scenes(tmp_path, 12, seed=5, height=240, width=320))
    figures = evaluate_results(truth, perfect_results(truth, 256, convention))
    assert figures["AP"] >= least, figures


@pytest.mark.skipif(not COCO_DEV.is_file(), reason="needs the photographs' annotations")
@pytest.mark.parametrize(
    ("size", "convention", "least"),
    [(256, "reference", 0.92), (256, "unbiased", 0.98), (512, "reference", 0.975)],
)
def test_annotated_people_come_back(size: int, convention: Convention, least: float) -> None:
    truth = load_annotations(COCO_DEV)
    images = truth.images[:60]
    shown = {image["id"] for image in images}
    people = [person for person in truth.people if person["image_id"] in shown]
    truth = replace(truth, images=images, people=people)
    figures = evaluate_results(truth, perfect_results(truth, size, convention))
    assert figures["AP"] >= least, figures
