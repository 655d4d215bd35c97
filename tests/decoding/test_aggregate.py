"""Tests of aggregation against the maps that the reference implementation computes."""

import json
from pathlib import Path

import numpy as np
import pytest

from higherhrnet.arrays import FloatArray
from higherhrnet.decoding.upsample import Upsampled
from higherhrnet.errors import InputError
from higherhrnet.poses.skeletons import COCO
from tests.decoding.aggregated_maps import aggregate


def all_pixels(maps: Upsampled) -> FloatArray:
    """(K, T, H, W) every pixel of upsampled maps, computed one by one."""
    y, x = np.divmod(np.arange(maps.height * maps.width), maps.width)
    values = [maps.at(np.full_like(y, k), y, x) for k in range(maps.count)]
    return np.stack(values).transpose(0, 2, 1).reshape(maps.count, -1, maps.height, maps.width)


@pytest.mark.golden
def test_aggregated_maps_equal_the_reference(golden: Path) -> None:
    arrays = np.load(golden / "aggregate.npz")
    cases = {key.split("/")[0] for key in arrays}
    assert cases
    for case in sorted(cases):
        meta = json.loads(str(arrays[f"{case}/meta"]))
        outputs = {}
        for scale in meta["scales"]:
            views = [f"{case}/scale{scale}/view{v}" for v in range(1 + meta["flip"])]
            outputs[scale] = [
                np.concatenate([arrays[f"{view}/{level}"] for view in views])
                for level in ("low", "high")
            ]
        width, height = meta["base_width_height"]
        grid = (height, width) if meta["project_to_image"] else None
        heatmaps, tags = aggregate(outputs, 17, COCO.flip_index, grid).upsampled()
        expected = arrays[f"{case}/heatmaps"][0]
        np.testing.assert_allclose(all_pixels(heatmaps)[:, 0], expected, atol=1e-5, err_msg=case)
        expected = arrays[f"{case}/tags"][0].transpose(0, 3, 1, 2)
        np.testing.assert_allclose(all_pixels(tags), expected, atol=1e-5, err_msg=case)


@pytest.mark.parametrize("level", [0, 1])
def test_maps_with_nan_are_rejected(level: int) -> None:
    outputs = [np.zeros((1, 34, 8, 8), np.float32), np.zeros((1, 17, 16, 16), np.float32)]
    outputs[level][0, -1, 3, 3] = np.nan
    with pytest.raises(InputError, match="NaN"):
        aggregate({1.0: outputs}, 17, COCO.flip_index, (32, 32))
