"""Synthetic network outputs: decoding finds their people, and the flipped view matches."""

import numpy as np
import pytest
import torch

from higherhrnet.config.header import Header
from higherhrnet.config.inference import InferenceConfig
from higherhrnet.config.model import ModelConfig
from higherhrnet.decoding.decoders import load_decoder
from higherhrnet.geometry import Resize
from higherhrnet.poses.skeleton import Skeleton
from higherhrnet.poses.skeletons import COCO, CROWDPOSE
from higherhrnet.reference.decoder import aggregate, decode, merge_resolutions
from higherhrnet.synthetic.maps import synthesize_offset_outputs, synthesize_outputs


@pytest.mark.parametrize("skeleton", [COCO, CROWDPOSE], ids=lambda skeleton: skeleton.name)
@pytest.mark.parametrize("num_people", [0, 1, 7])
def test_decoding_finds_the_number_of_people(num_people: int, skeleton: Skeleton) -> None:
    low, high = map(torch.from_numpy, synthesize_outputs(num_people, 192, 256, 1, skeleton))
    views = [(low[i : i + 1], high[i : i + 1]) for i in range(2)]
    heatmaps, tags = aggregate({1: views}, skeleton.flip_index, (192, 256))
    people, scores = decode(heatmaps, tags, skeleton.grouping_order)
    assert len(people) == len(scores) == num_people
    assert tags.shape == (1, len(skeleton), 192, 256, 2)


def test_the_flipped_view_matches_the_plain_view() -> None:
    low, high = map(torch.from_numpy, synthesize_outputs(4, 128, 192, 2))
    plain = merge_resolutions((low[:1], high[:1]), COCO.flip_index, flipped=False)
    flipped = merge_resolutions((low[1:], high[1:]), COCO.flip_index, flipped=True)
    assert (plain[0] - flipped[0]).abs().max() < 0.1
    peaks = plain[0] > 0.5
    assert peaks.sum() > 20
    assert (plain[1] - flipped[1])[peaks].abs().mean() < 0.3


def test_equal_seeds_give_equal_outputs() -> None:
    one, equal, other = (synthesize_outputs(3, 64, 64, seed, flip=False) for seed in (5, 5, 6))
    assert one[0].shape == (1, 34, 16, 16)
    assert one[1].shape == (1, 17, 32, 32)
    np.testing.assert_array_equal(one[0], equal[0])
    assert not np.array_equal(one[1], other[1])


@pytest.mark.parametrize("skeleton", [COCO, CROWDPOSE], ids=lambda skeleton: skeleton.name)
@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("num_people", [0, 1, 7])
def test_decoding_by_offsets_finds_the_number_of_people(
    num_people: int, flip: bool, skeleton: Skeleton
) -> None:
    outputs = synthesize_offset_outputs(num_people, 192, 256, 1, skeleton, flip)
    model = ModelConfig(num_keypoints=len(skeleton), head="offsets")
    decoder, config = load_decoder(Header(model, skeleton)), InferenceConfig()
    maps = decoder.merge_scales({1.0: decoder.merge_views(outputs)}, (192, 256), config)
    poses = decoder.decode(maps, Resize((192, 256), np.eye(2, 3), "reference"), config)
    assert len(poses) == num_people
    assert (poses.scores > 0.3).all()
