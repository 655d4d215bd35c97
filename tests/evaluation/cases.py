"""Random annotations and results, and their metrics as pycocotools computes them."""

import contextlib
import copy
import io
from typing import Any

import numpy as np
from pycocotools.coco import COCO as OracleCOCO
from pycocotools.cocoeval import COCOeval as OracleEvaluation

from higherhrnet.evaluation.metrics import COCO_METRICS
from higherhrnet.poses.skeleton import Skeleton
from higherhrnet.poses.skeletons import COCO

File = dict[str, Any]
Results = list[dict[str, Any]]

HAND = Skeleton(
    "hand",
    names=("wrist", "thumb", "index", "little"),
    limbs=(("wrist", "thumb"), ("wrist", "index"), ("wrist", "little")),
    sigmas=(0.05, 0.02, 0.15, 0.3),
)


def random_person(rng: np.random.Generator, count: int) -> File:
    """A person of any size: usually labeled, sometimes not, sometimes a crowd region."""
    side = rng.choice([20, 60, 150, 400])
    corner = rng.uniform(0, 400, 2)
    xy = corner + rng.uniform(0, side, (count, 2))
    visibility = rng.choice([0, 1, 2], count, p=[0.3, 0.2, 0.5]) * (rng.random() > 0.15)
    width, height = rng.uniform(0.7, 1.1, 2) * side
    return {
        "category_id": 1,
        "keypoints": np.column_stack([xy.round(), visibility]).ravel().tolist(),
        "num_keypoints": int((visibility > 0).sum()),
        "bbox": [*corner.tolist(), width, height],
        "area": 0.6 * width * height,
        "iscrowd": int(rng.random() < 0.1),
    }


def random_result(
    rng: np.random.Generator, image_id: int, count: int, near: File | None, boxed: bool
) -> File:
    """A result near a person or anywhere; scores have one decimal, so that many are equal."""
    if near is None:
        xy, side = rng.uniform(0, 500, (count, 2)), 100.0
    else:
        xy = np.reshape(near["keypoints"], (count, 3))[:, :2]
        side = near["area"] ** 0.5
    xy = xy + rng.normal(0, rng.choice([0.01, 0.06, 0.2]) * side, xy.shape)
    result = {
        "image_id": image_id,
        "category_id": 1,
        "keypoints": np.column_stack([xy, np.ones(count)]).ravel().tolist(),
        "score": round(rng.random(), 1),
    }
    box = [*xy.min(0).tolist(), *np.ptp(xy, 0).tolist()]
    return result | ({"bbox": box} if boxed else {})


def random_case(
    seed: int, skeleton: Skeleton = COCO, images: int = 12, people: int = 6
) -> tuple[File, Results]:
    """Annotations and results of images without people, without results, and with more than 20."""
    rng = np.random.default_rng(seed)
    ids = rng.permutation(1000)[:images].tolist()
    content: File = {
        "images": [{"id": id_, "file_name": f"{id_:012}.jpg"} for id_ in ids],
        "categories": [skeleton.to_category()],
        "annotations": [],
    }
    results: Results = []
    for id_ in ids:
        in_image = [random_person(rng, len(skeleton)) for _ in range(rng.integers(0, people + 1))]
        content["annotations"] += [person | {"image_id": id_} for person in in_image]
        nears = [None] * int(rng.choice([0, 2, 25])) + [p for p in in_image for _ in range(2)]
        rng.shuffle(nears)
        results += [random_result(rng, id_, len(skeleton), near, bool(seed % 2)) for near in nears]
    for number, person in enumerate(content["annotations"], 1):
        person["id"] = number
    return content, results


def oracle(content: File, results: Results, sigmas: tuple[float, ...] = COCO.sigmas) -> File:
    """The metrics of category 1 as pycocotools computes them."""
    with contextlib.redirect_stdout(io.StringIO()):
        ground_truth, predictions = OracleCOCO(), OracleCOCO()
        ground_truth.dataset = copy.deepcopy(content)
        ground_truth.createIndex()
        if results:
            predictions = ground_truth.loadRes(copy.deepcopy(results))
        else:  # loadRes does not accept an empty list
            predictions.dataset = {**ground_truth.dataset, "annotations": []}
            predictions.createIndex()
        evaluation = OracleEvaluation(ground_truth, predictions, "keypoints")
        evaluation.params.kpt_oks_sigmas = np.array(sigmas)
        evaluation.params.catIds = [1]
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return dict(zip(COCO_METRICS, evaluation.stats, strict=True))
