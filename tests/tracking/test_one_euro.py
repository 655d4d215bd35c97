"""The filter against the paper's algorithm, a point and a frame at a time in plain Python."""

import math

import numpy as np

from higherhrnet.tracking.one_euro import one_euro

CUTOFF, BETA, SPEED_CUTOFF = 1.2, 0.04, 0.9


def plain(points: list[tuple[float, float]], times: list[float]) -> list[tuple[float, float]]:
    """As Casiez, Roussel and Vogel write it down, with the speed of two coordinates together."""

    def alpha(min_cutoff: float, seconds: float) -> float:
        return 1 / (1 + 1 / (2 * math.pi * min_cutoff) / seconds)

    x, y = points[0]
    dx = dy = 0.0
    filtered = [(x, y)]
    for (new_x, new_y), now, before in zip(points[1:], times[1:], times, strict=False):
        seconds = now - before
        a = alpha(SPEED_CUTOFF, seconds)
        dx = a * (new_x - x) / seconds + (1 - a) * dx
        dy = a * (new_y - y) / seconds + (1 - a) * dy
        a = alpha(CUTOFF + BETA * math.sqrt(dx * dx + dy * dy), seconds)
        x, y = a * new_x + (1 - a) * x, a * new_y + (1 - a) * y
        filtered.append((x, y))
    return filtered


def test_many_points_at_once_are_as_each_alone() -> None:
    rng = np.random.default_rng(0)
    people, keypoints, frames = 3, 5, 40
    paths = rng.normal(0, 9, (frames, people, keypoints, 2)).cumsum(0)
    times = rng.uniform(0.01, 0.2, (frames, people, keypoints)).cumsum(0)
    last, speed, got = paths[0], np.zeros_like(paths[0]), [paths[0]]
    for new, waited in zip(paths[1:], np.diff(times, axis=0), strict=True):
        last, speed = one_euro(new, last, speed, waited, CUTOFF, BETA, SPEED_CUTOFF)
        got.append(last)
    for index in np.ndindex(people, keypoints):
        path = [(float(x), float(y)) for x, y in paths[:, *index]]
        expected = plain(path, times[:, *index].tolist())
        np.testing.assert_allclose(np.array(got)[:, *index], expected, rtol=1e-12)
