"""Compares the file of `export --decode` with the predictor on annotated images.

Run it with `python -m higherhrnet.bench.scripts.decoded_export annotations.json`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import onnxruntime
import tyro
from tqdm import tqdm

from higherhrnet import Poses, Predictor
from higherhrnet.arrays import Image
from higherhrnet.evaluation.metrics import compute_metrics
from higherhrnet.evaluation.pairing import pair_results
from higherhrnet.graph.decode.people import add_decoding
from higherhrnet.graph.export import read_network
from higherhrnet.io.datasets.coco import load_annotations
from higherhrnet.io.images import read_image
from higherhrnet.zoo.resolve import resolve_model

_MAX_DISTANCE, _MAX_SCORE_DIFFERENCE = 0.5, 1e-3
"""Largest differences, in pixels and in keypoint scores, of people that count as the same."""


Predict = Callable[[Image], Poses]
"""Finds the people of an image."""


def same_people(poses: Poses, expected: Poses) -> bool:
    """Returns whether the people of an image are the same, in the same order."""
    if len(poses) != len(expected):
        return False
    distance = np.abs(poses.keypoints - expected.keypoints).max(initial=0)
    difference = np.abs(poses.keypoint_scores - expected.keypoint_scores).max(initial=0)
    return bool(distance <= _MAX_DISTANCE and difference <= _MAX_SCORE_DIFFERENCE)


def timed_people(predict: Predict, image: Image) -> tuple[Poses, float]:
    """Returns the people of an image and the processor time in seconds."""
    start = process_time()
    return predict(image), process_time() - start


def main(
    annotations: tyro.conf.Positional[Path],
    images: tyro.conf.Positional[Path],
    model: str = "default",
    fast: bool = False,
) -> None:
    """Prints AP of both, the number of images with the same people, and the ratio of the times.

    Args:
        annotations: A COCO keypoints file.
        images: The folder of its images.
        model: An .onnx file, or `default`.
        fast: Without the flipped view, and at scale 1 only.
    """
    truth, options = load_annotations(annotations), onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    network, header = read_network(resolve_model(model))
    if fast:
        header = replace(header, inference=replace(header.inference, flip=False, scales=(1.0,)))
    add_decoding(network, header)
    session = onnxruntime.InferenceSession(network.SerializeToString(), options)
    predictor = Predictor.load(model, engine="onnxruntime", threads=1, config=header.inference)

    def exported(image: Image) -> Poses:
        keypoints, scores = session.run(["keypoints", "scores"], {"image": image})
        return Poses(keypoints[..., :2], keypoints[..., 2], scores, header.skeleton)

    results: dict[str, list[Any]] = {"predictor": [], "exported file": []}
    same, people, ratios = 0, [], []
    for index, entry in enumerate(tqdm(truth.images)):
        image = read_image(images / entry["file_name"])
        order: list[Predict] = [predictor, exported] if index % 2 else [exported, predictor]
        runs = {function: timed_people(function, image) for function in order}
        (expected, seconds), (poses, exported_seconds) = runs[predictor], runs[exported]
        same += same_people(poses, expected)
        people.append(len(expected))
        ratios.append(exported_seconds / seconds)
        for name, found in zip(results, (expected, poses), strict=True):
            results[name] += found.to_coco(entry["id"])
    for name, entries in results.items():
        metrics = compute_metrics(pair_results(truth, entries))
        print(f"{name}: AP {metrics['AP']:.4f}")
    print(f"the same people in {same} of {len(people)} images")
    counts, low = np.array(people), 0
    for high in (0, 3, 6, 30):
        selected = np.array(ratios)[(counts >= low) & (counts <= high)]
        if len(selected):
            median = np.median(selected)
            print(f"{low} to {high} people, {len(selected)} images: {median:.2f} times the time")
        low = high + 1


if __name__ == "__main__":
    tyro.cli(main)
