"""Targets against the original's arrays, and against loops over pixels."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch")

from higherhrnet.config import Convention  # noqa: E402
from higherhrnet.training.targets import (  # noqa: E402
    cell_indices,
    person_sigmas,
    render_heatmaps,
    to_map_coordinates,
)

CONVENTIONS: list[Convention] = ["reference", "unbiased"]


def cases(golden: Path) -> list[str]:
    with np.load(golden / "targets.npz") as arrays:
        return sorted({key.split("/")[0] for key in arrays if key.startswith("heatmap")})


@pytest.mark.golden
def test_heatmaps_and_places_are_the_originals(golden: Path) -> None:
    assert cases(golden)
    with np.load(golden / "targets.npz") as arrays:
        for case in cases(golden):
            size, keypoints, sigma = map(int, arrays[f"{case}/meta"])
            cells = torch.from_numpy(arrays[f"{case}/people"]).view(1, -1, keypoints, 3)
            maps = render_heatmaps(cells, size, size, float(sigma), "reference")[0].numpy()
            wanted = arrays[f"{case}/target"].astype(np.float32)
            np.testing.assert_allclose(maps, wanted, atol=5e-4, err_msg=case)
            assert ((maps > 0) >= (wanted > 0)).all()

            column, row, seen = cell_indices(cells, size, size, "reference")
            place = row * size + column
            stacked = torch.arange(keypoints) * size * size + place
            for kind, flat in (("per_joint", stacked), ("shared", place)):
                for person, slots in enumerate(arrays[f"{case}/indices_{kind}"]):
                    used = slots[slots[:, 1] > 0, 0]
                    found = flat[0, person][seen[0, person]] if person < seen.shape[1] else used[:0]
                    np.testing.assert_array_equal(found, used, err_msg=f"{case} {kind}")


@pytest.mark.golden
def test_scale_aware_heatmaps_are_the_originals(golden: Path) -> None:
    with np.load(golden / "targets.npz") as arrays:
        people, wanted = arrays["scale_aware/people"], arrays["scale_aware/target"]
    cells, spread = torch.from_numpy(people[None, ..., :3]), torch.from_numpy(people[None, :, 0, 3])
    maps = render_heatmaps(cells, wanted.shape[1], wanted.shape[2], spread, "reference")[0].numpy()
    np.testing.assert_allclose(maps, wanted.astype(np.float32), atol=5e-4)


def naive_unbiased(people: NDArray[np.float64], size: int, sigma: float) -> NDArray[np.float64]:
    maps = np.zeros((people.shape[1], size, size))
    for person in people:
        for k, (x, y, visibility) in enumerate(person):
            if visibility > 0 and 0 <= x < size and 0 <= y < size:
                for row in range(size):
                    for column in range(size):
                        away = (column + 0.5 - x) ** 2 + (row + 0.5 - y) ** 2
                        value = np.exp(-away / (2 * sigma**2))
                        maps[k, row, column] = max(maps[k, row, column], value)
    return maps


@pytest.mark.parametrize("sigma", [1.3, 2.0])
def test_unbiased_heatmaps_are_gaussians_at_the_keypoints_themselves(sigma: float) -> None:
    rng = np.random.default_rng(1)
    people = rng.uniform(-4, 28, (5, 3, 3))
    people[..., 2] = rng.integers(0, 3, (5, 3))
    maps = render_heatmaps(torch.from_numpy(people)[None], 24, 24, sigma, "unbiased")[0].numpy()
    wanted = naive_unbiased(people, 24, sigma)
    cut_off = np.exp(-((3 * sigma) ** 2) / (2 * sigma**2))
    near = wanted > cut_off
    np.testing.assert_allclose(maps[near], wanted[near], atol=1e-6)
    assert (maps[~near] <= wanted[~near] + 1e-6).all()


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_mirrored_keypoints_make_mirrored_heatmaps(convention: Convention) -> None:
    rng = np.random.default_rng(2)
    keypoints = torch.from_numpy(rng.uniform(4, 60, (2, 3, 4, 3)))
    plain, mirrored = (
        to_map_coordinates(keypoints, torch.tensor([flip, flip]), 4, 16, convention)
        for flip in (False, True)
    )
    if convention == "reference":  # mirrors cells, not points within them
        mirrored[..., 0] = mirrored[..., 0].ceil()
    maps = [render_heatmaps(cells, 16, 16, 2.0, convention) for cells in (plain, mirrored)]
    torch.testing.assert_close(maps[0].flip(3), maps[1])


def test_a_crowd_of_any_number_and_nobody_at_all() -> None:
    many = torch.full((1, 45, 2, 3), 9.0)
    assert render_heatmaps(many, 16, 16, 2.0, "reference").amax() == 1
    nobody = torch.zeros(2, 0, 2, 3)
    assert (
        render_heatmaps(nobody, 16, 16, person_sigmas(nobody[..., 0, 0], 2, 256), "reference")
        .eq(0)
        .all()
    )


def test_sigma_grows_with_the_person() -> None:
    grown = person_sigmas(torch.tensor([[256.0, 512.0, 1.0]]), 2.0, 256.0)
    assert grown.tolist() == [[2.0, 4.0, 0.5]]
