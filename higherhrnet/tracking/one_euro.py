"""The One-Euro filter (Casiez, Roussel and Vogel, "1€ Filter", CHI 2012)."""

from __future__ import annotations

import numpy as np

from higherhrnet.arrays import DoubleArray


def one_euro(
    positions: DoubleArray,
    filtered: DoubleArray,
    velocities: DoubleArray,
    seconds: DoubleArray,
    min_cutoff: float,
    beta: DoubleArray | float,
    derivative_cutoff: float,
) -> tuple[DoubleArray, DoubleArray]:
    """Filters the next positions of any number of points.

    The filter is a low-pass filter whose cutoff frequency rises with the speed of the point: slow
    points are smoothed the most, because their jitter is visible, and fast points the least,
    because their delay is. The speed is the length of the velocity, so that it does not depend on
    the direction of motion.

    Args:
        positions: (..., 2) new positions.
        filtered: (..., 2) filtered positions of the previous step.
        velocities: (..., 2) filtered velocities of the previous step, in units per second.
        seconds: (...) time since the previous step, above 0.
        min_cutoff: cutoff frequency in Hz of a point that does not move, above 0.
        beta: (...) increase of the cutoff frequency in Hz for a speed of one unit per second.
        derivative_cutoff: cutoff frequency in Hz of the filter of the velocities.

    Returns:
        (..., 2) filtered positions and (..., 2) filtered velocities.
    """
    measured = (positions - filtered) / seconds[..., None]
    weight = _smoothing_factor(derivative_cutoff, seconds)[..., None]
    velocities = velocities + weight * (measured - velocities)
    cutoff = min_cutoff + beta * np.hypot(velocities[..., 0], velocities[..., 1])
    weight = _smoothing_factor(cutoff, seconds)[..., None]
    return filtered + weight * (positions - filtered), velocities


def _smoothing_factor(cutoff: DoubleArray | float, seconds: DoubleArray) -> DoubleArray:
    """Returns the weight, 0 to 1, of a new value in a low-pass filter; alpha in the paper."""
    angle = 2 * np.pi * cutoff * seconds
    return np.asarray(angle / (angle + 1))
