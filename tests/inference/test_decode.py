"""Decoding against what the original computed."""

from pathlib import Path

import numpy as np
import pytest

from higherhrnet.config import DecodeConfig
from higherhrnet.inference.aggregate import Maps
from higherhrnet.inference.decode import decode
from higherhrnet.skeleton import COCO, CROWDPOSE

SETTINGS = {
    "raw": DecodeConfig(adjust=False, refine=False),
    "adjust": DecodeConfig(refine=False),
    "adjust_refine": DecodeConfig(),
}


@pytest.mark.golden
@pytest.mark.parametrize("setting", SETTINGS)
def test_people_are_the_originals(setting: str, golden: Path) -> None:
    arrays = np.load(golden / "grouping.npz")
    cases = {key.split("/")[0] for key in arrays}
    assert cases
    for case in sorted(cases):
        heatmaps = arrays[f"{case}/heatmaps"][0].astype(np.float32)
        tags = arrays[f"{case}/tags"][0].astype(np.float32).transpose(0, 3, 1, 2)
        skeleton = COCO if len(heatmaps) == 17 else CROWDPOSE
        people = decode(Maps(heatmaps, tags, (), ()), skeleton, SETTINGS[setting])
        expected = arrays[f"{case}/{setting}/people"]
        assert len(people.scores) == len(expected), case
        np.testing.assert_allclose(people.scores, arrays[f"{case}/{setting}/scores"], atol=1e-5)
        if len(expected):
            np.testing.assert_allclose(people.keypoints, expected, atol=1e-3, err_msg=case)
            np.testing.assert_allclose(people.keypoints[..., 2], expected[..., 2], atol=1e-5)
