"""The yardstick of the benchmarks does what the original does, and its drawn maps hold people."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from higherhrnet.reference.decoder import aggregate, decode, merge_resolutions
from higherhrnet.skeleton import COCO, CROWDPOSE, SKELETONS, Skeleton
from higherhrnet.synthetic.maps import draw_maps

Arrays = dict[str, NDArray[Any]]

ORDERS = {len(skeleton): skeleton.grouping_order for skeleton in SKELETONS.values()}
FLIPS = {len(skeleton): skeleton.flip_index for skeleton in SKELETONS.values()}
SETTINGS = {"raw": (False, False), "adjust": (True, False), "adjust_refine": (True, True)}


def cases(file: Path) -> dict[str, Arrays]:
    """Each case's arrays by their names within the case."""
    found: dict[str, Arrays] = {}
    with np.load(file) as arrays:
        for key in arrays:
            case, name = key.split("/", 1)
            found.setdefault(case, {})[name] = arrays[key]
    assert found
    return found


def tensor(array: NDArray[Any]) -> Tensor:
    return torch.from_numpy(array.astype(np.float32))


@pytest.mark.golden
@pytest.mark.parametrize("setting", SETTINGS)
def test_people_are_the_originals(setting: str, golden: Path) -> None:
    """To the last digit; needs munkres 3, see bench/original.py."""
    adjust, refine = SETTINGS[setting]
    for case, arrays in cases(golden / "grouping.npz").items():
        heatmaps, tags = tensor(arrays["heatmaps"]), tensor(arrays["tags"])
        people, scores = decode(heatmaps, tags, ORDERS[heatmaps.shape[1]], adjust, refine)
        expected = arrays[f"{setting}/people"].reshape(-1, *people.shape[1:])  # nobody: (0,)
        np.testing.assert_array_equal(people, expected, err_msg=case)
        np.testing.assert_array_equal(scores, arrays[f"{setting}/scores"], err_msg=case)


@pytest.mark.golden
def test_aggregated_maps_are_the_originals(golden: Path) -> None:
    for case, arrays in cases(golden / "aggregate.npz").items():
        meta = json.loads(str(arrays["meta"]))
        outputs = {
            scale: [
                (tensor(arrays[f"{view}/low"]), tensor(arrays[f"{view}/high"]))
                for view in (f"scale{scale}/view{i}" for i in range(1 + meta["flip"]))
            ]
            for scale in meta["scales"]
        }
        width, height = meta["base_width_height"]
        flip_index = FLIPS[arrays["heatmaps"].shape[1]]
        heatmaps, tags = aggregate(outputs, flip_index, (height, width), meta["project_to_image"])
        np.testing.assert_allclose(heatmaps, arrays["heatmaps"], atol=1e-6, err_msg=case)
        np.testing.assert_allclose(tags, arrays["tags"], atol=1e-6, err_msg=case)


@pytest.mark.parametrize("skeleton", [COCO, CROWDPOSE], ids=lambda skeleton: skeleton.name)
@pytest.mark.parametrize("people", [0, 1, 7])
def test_drawn_people_are_found(people: int, skeleton: Skeleton) -> None:
    low, high = map(torch.from_numpy, draw_maps(people, 192, 256, 1, skeleton))
    views = [(low[i : i + 1], high[i : i + 1]) for i in range(2)]
    heatmaps, tags = aggregate({1: views}, skeleton.flip_index, (192, 256))
    found, scores = decode(heatmaps, tags, skeleton.grouping_order)
    assert len(found) == len(scores) == people
    assert tags.shape == (1, len(skeleton), 192, 256, 2)


def test_drawn_mirror_turns_back_into_the_plain_view() -> None:
    low, high = map(torch.from_numpy, draw_maps(4, 128, 192, 2))
    plain = merge_resolutions((low[:1], high[:1]), COCO.flip_index, mirrored=False)
    mirror = merge_resolutions((low[1:], high[1:]), COCO.flip_index, mirrored=True)
    assert (plain[0] - mirror[0]).abs().max() < 0.1
    peaks = plain[0] > 0.5
    assert peaks.sum() > 20
    assert (plain[1] - mirror[1])[peaks].abs().mean() < 0.3


def test_drawn_maps_repeat_with_their_seed() -> None:
    again = [draw_maps(3, 64, 64, seed, flip=False) for seed in (5, 5, 6)]
    assert again[0][0].shape == (1, 34, 16, 16)
    assert again[0][1].shape == (1, 17, 32, 32)
    np.testing.assert_array_equal(again[0][0], again[1][0])
    assert not np.array_equal(again[0][1], again[2][1])
