"""The One-Euro filter: still where little moves, prompt where much does."""

from __future__ import annotations

import numpy as np

from higherhrnet.arrays import DoubleArray


def one_euro(
    new: DoubleArray,
    last: DoubleArray,
    speed: DoubleArray,
    seconds: DoubleArray,
    min_cutoff: float,
    beta: DoubleArray | float,
    derivative_cutoff: float,
) -> tuple[DoubleArray, DoubleArray]:
    """One step of the filter (Casiez et al., CHI 2012), for any number of points at once.

    Slow points are smoothed the most, and those that move the least, since there lag is seen and
    jitter is not. How fast a point moves is the length of its velocity, whatever the direction.

    Args:
        new: (..., 2) where the points were found.
        last: (..., 2) the filtered points of before.
        speed: (..., 2) their filtered velocity, units a second.
        seconds: (...) since then, above 0.
        cutoff: Hz, of a point that stands still; above 0.
        beta: (...) Hz by which each unit a second raises it.
        speed_cutoff: Hz, for the velocity itself.

    Returns:
        (..., 2) the filtered points, and their filtered velocity.
    """
    slope = (new - last) / seconds[..., None]
    speed = speed + _weight(derivative_cutoff, seconds)[..., None] * (slope - speed)
    min_cutoffs = min_cutoff + beta * np.hypot(speed[..., 0], speed[..., 1])
    return last + _weight(min_cutoffs, seconds)[..., None] * (new - last), speed


def _weight(min_cutoff: DoubleArray | float, seconds: DoubleArray) -> DoubleArray:
    """How much of the new value a low-pass filter takes."""
    turn = 2 * np.pi * min_cutoff * seconds
    return np.asarray(turn / (turn + 1))
