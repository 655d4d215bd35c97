"""Targets against the reference implementation and against loops over pixels."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch")

from higherhrnet.config.training import TargetConfig
from higherhrnet.data.loader import Batch
from higherhrnet.geometry import Convention
from higherhrnet.training.targets import (
    cell_indices,
    make_targets,
    person_sigmas,
    render_heatmaps,
    to_map_coordinates,
)

CONVENTIONS: list[Convention] = ["reference", "unbiased"]


def cases(golden: Path) -> list[str]:
    with np.load(golden / "targets.npz") as arrays:
        return sorted({key.split("/")[0] for key in arrays if key.startswith("heatmap")})


@pytest.mark.golden
def test_heatmaps_and_tag_positions_equal_the_reference(golden: Path) -> None:
    assert cases(golden)
    with np.load(golden / "targets.npz") as arrays:
        for case in cases(golden):
            size, num_keypoints, sigma = map(int, arrays[f"{case}/meta"])
            keypoints = torch.from_numpy(arrays[f"{case}/people"]).view(1, -1, num_keypoints, 3)
            maps = render_heatmaps(keypoints, size, size, float(sigma), "reference")[0].numpy()
            expected = arrays[f"{case}/target"].astype(np.float32)
            np.testing.assert_allclose(maps, expected, atol=5e-4, err_msg=case)
            assert ((maps > 0) >= (expected > 0)).all()

            column, row, visible = cell_indices(keypoints, size, size, "reference")
            cells = row * size + column
            stacked = torch.arange(num_keypoints) * size * size + cells
            for kind, flat in (("per_joint", stacked), ("shared", cells)):
                for person, slots in enumerate(arrays[f"{case}/indices_{kind}"]):
                    used = slots[slots[:, 1] > 0, 0]
                    indices = (
                        flat[0, person][visible[0, person]]
                        if person < visible.shape[1]
                        else used[:0]
                    )
                    np.testing.assert_array_equal(indices, used, err_msg=f"{case} {kind}")


@pytest.mark.golden
def test_scale_aware_heatmaps_equal_the_reference(golden: Path) -> None:
    with np.load(golden / "targets.npz") as arrays:
        people, expected = arrays["scale_aware/people"], arrays["scale_aware/target"]
    keypoints = torch.from_numpy(people[None, ..., :3])
    sigmas = torch.from_numpy(people[None, :, 0, 3])
    height, width = expected.shape[1:]
    maps = render_heatmaps(keypoints, height, width, sigmas, "reference")[0].numpy()
    np.testing.assert_allclose(maps, expected.astype(np.float32), atol=5e-4)


def naive_unbiased(people: NDArray[np.float64], size: int, sigma: float) -> NDArray[np.float64]:
    maps = np.zeros((people.shape[1], size, size))
    for person in people:
        for k, (x, y, visibility) in enumerate(person):
            if visibility > 0 and 0 <= x < size and 0 <= y < size:
                for row in range(size):
                    for column in range(size):
                        distance = (column + 0.5 - x) ** 2 + (row + 0.5 - y) ** 2
                        value = np.exp(-distance / (2 * sigma**2))
                        maps[k, row, column] = max(maps[k, row, column], value)
    return maps


@pytest.mark.parametrize("sigma", [1.3, 2.0])
def test_unbiased_heatmaps_are_gaussians_centered_on_the_keypoints(sigma: float) -> None:
    rng = np.random.default_rng(1)
    people = rng.uniform(-4, 28, (5, 3, 3))
    people[..., 2] = rng.integers(0, 3, (5, 3))
    maps = render_heatmaps(torch.from_numpy(people)[None], 24, 24, sigma, "unbiased")[0].numpy()
    expected = naive_unbiased(people, 24, sigma)
    near = expected > np.exp(-((3 * sigma) ** 2) / (2 * sigma**2))  # within three sigma
    np.testing.assert_allclose(maps[near], expected[near], atol=1e-6)
    assert (maps[~near] <= expected[~near] + 1e-6).all()


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_flipped_keypoints_give_flipped_heatmaps(convention: Convention) -> None:
    rng = np.random.default_rng(2)
    keypoints = torch.from_numpy(rng.uniform(4, 60, (2, 3, 4, 3)))
    plain, flipped = (
        to_map_coordinates(keypoints, torch.tensor([flip, flip]), 4, 16, convention)
        for flip in (False, True)
    )
    if convention == "reference":  # which flips cells, not points within them
        flipped[..., 0] = flipped[..., 0].ceil()
    maps = [render_heatmaps(points, 16, 16, 2.0, convention) for points in (plain, flipped)]
    torch.testing.assert_close(maps[0].flip(3), maps[1])


def test_any_number_of_people_can_be_rendered() -> None:
    many = torch.full((1, 45, 2, 3), 9.0)
    assert render_heatmaps(many, 16, 16, 2.0, "reference").amax() == 1
    nobody = torch.zeros(2, 0, 2, 3)
    sigmas = person_sigmas(nobody[..., 0, 0], 2, 256)
    assert not render_heatmaps(nobody, 16, 16, sigmas, "reference").any()


def test_scale_aware_targets_have_a_sigma_for_each_person() -> None:
    """Two people of one keypoint each, one of whom is four times as large as the other."""
    keypoints = torch.tensor([[[[20.3, 30.2, 2]], [[100.9, 90.4, 2]]]])
    sizes = torch.tensor([[64.0, 256.0]])
    masks = [torch.ones(1, side, side, dtype=torch.bool) for side in (32, 64)]
    labeled, flipped = torch.ones(1, 1, dtype=torch.bool), torch.tensor([False])
    images = torch.zeros(1, 3, 128, 128)
    batch = Batch(["a.jpg"], images, keypoints, sizes, flipped, labeled, masks, largest=256.0)
    config = TargetConfig(sigma=1.0, scale_aware=True, scale_base=128.0)
    targets = make_targets(batch, config, "unbiased")
    for heatmaps, stride in zip(targets.heatmaps, (4, 2), strict=True):
        people = keypoints[0].double().numpy() / (stride, stride, 1)
        maps = [
            naive_unbiased(person[None], 128 // stride, sigma)
            for person, sigma in zip(people, (0.5, 2.0), strict=True)
        ]
        np.testing.assert_allclose(heatmaps[0], np.maximum(*maps), atol=0.012)  # cut off
    assert targets.tag_cells.tolist() == [[[7 * 32 + 5], [22 * 32 + 25]]]
    assert targets.visible.all()


def test_sigma_is_proportional_to_the_size_of_the_person() -> None:
    sigmas = person_sigmas(torch.tensor([[256.0, 512.0, 1.0]]), 2.0, 256.0)
    assert sigmas.tolist() == [[2.0, 4.0, 0.5]]
