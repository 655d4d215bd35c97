"""Tests of the One-Euro filter against the paper's algorithm in plain Python, point by point."""

import math

import numpy as np

from higherhrnet.tracking.one_euro import one_euro

MIN_CUTOFF, BETA, DERIVATIVE_CUTOFF = 1.2, 0.04, 0.9


def filter_in_plain_python(
    points: list[tuple[float, float]], times: list[float]
) -> list[tuple[float, float]]:
    """The algorithm of Casiez, Roussel and Vogel, with one speed for both coordinates."""

    def alpha(cutoff: float, seconds: float) -> float:
        return 1 / (1 + 1 / (2 * math.pi * cutoff) / seconds)

    x, y = points[0]
    dx = dy = 0.0
    filtered = [(x, y)]
    for (new_x, new_y), time, previous_time in zip(points[1:], times[1:], times, strict=False):
        seconds = time - previous_time
        a = alpha(DERIVATIVE_CUTOFF, seconds)
        dx = a * (new_x - x) / seconds + (1 - a) * dx
        dy = a * (new_y - y) / seconds + (1 - a) * dy
        a = alpha(MIN_CUTOFF + BETA * math.sqrt(dx * dx + dy * dy), seconds)
        x, y = a * new_x + (1 - a) * x, a * new_y + (1 - a) * y
        filtered.append((x, y))
    return filtered


def test_many_points_are_filtered_independently() -> None:
    rng = np.random.default_rng(0)
    people, keypoints, frames = 3, 5, 40
    paths = rng.normal(0, 9, (frames, people, keypoints, 2)).cumsum(0)
    times = rng.uniform(0.01, 0.2, (frames, people, keypoints)).cumsum(0)
    filtered, velocities = paths[0], np.zeros_like(paths[0])
    results = [filtered]
    for positions, seconds in zip(paths[1:], np.diff(times, axis=0), strict=True):
        filtered, velocities = one_euro(
            positions, filtered, velocities, seconds, MIN_CUTOFF, BETA, DERIVATIVE_CUTOFF
        )
        results.append(filtered)
    for index in np.ndindex(people, keypoints):
        path = [(float(x), float(y)) for x, y in paths[:, *index]]
        expected = filter_in_plain_python(path, times[:, *index].tolist())
        np.testing.assert_allclose(np.array(results)[:, *index], expected, rtol=1e-12)
