"""The reference decoder against arrays that the reference implementation computed."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from higherhrnet.poses.skeletons import COCO, CROWDPOSE
from higherhrnet.reference.decoder import aggregate, decode

Arrays = dict[str, NDArray[Any]]

GROUPING_ORDERS = {len(skeleton): skeleton.grouping_order for skeleton in (COCO, CROWDPOSE)}
FLIP_INDICES = {len(skeleton): skeleton.flip_index for skeleton in (COCO, CROWDPOSE)}
SETTINGS = {"raw": (False, False), "adjust": (True, False), "adjust_refine": (True, True)}


def cases(file: Path) -> dict[str, Arrays]:
    """The arrays of each case, by their names within the case."""
    groups: dict[str, Arrays] = {}
    with np.load(file) as arrays:
        for key in arrays:
            case, name = key.split("/", 1)
            groups.setdefault(case, {})[name] = arrays[key]
    assert groups
    return groups


def tensor(array: NDArray[Any]) -> Tensor:
    return torch.from_numpy(array.astype(np.float32))


@pytest.mark.golden
@pytest.mark.parametrize("setting", SETTINGS)
def test_people_equal_those_of_the_reference_implementation(setting: str, golden: Path) -> None:
    """The results are bit-identical with munkres 3; see `higherhrnet.reference.decoder`."""
    adjust, refine = SETTINGS[setting]
    for case, arrays in cases(golden / "grouping.npz").items():
        heatmaps, tags = tensor(arrays["heatmaps"]), tensor(arrays["tags"])
        people, scores = decode(heatmaps, tags, GROUPING_ORDERS[heatmaps.shape[1]], adjust, refine)
        expected = arrays[f"{setting}/people"].reshape(-1, *people.shape[1:])  # (0,) without people
        np.testing.assert_array_equal(people, expected, err_msg=case)
        np.testing.assert_array_equal(scores, arrays[f"{setting}/scores"], err_msg=case)


@pytest.mark.golden
def test_merged_maps_equal_those_of_the_reference_implementation(golden: Path) -> None:
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
        flip_index = FLIP_INDICES[arrays["heatmaps"].shape[1]]
        heatmaps, tags = aggregate(outputs, flip_index, (height, width), meta["project_to_image"])
        np.testing.assert_allclose(heatmaps, arrays["heatmaps"], atol=1e-6, err_msg=case)
        np.testing.assert_allclose(tags, arrays["tags"], atol=1e-6, err_msg=case)
