"""Least-squares fits of Gaussians, many at the same time.

The method is that of MINPACK's `lmdif`, which SciPy's `curve_fit` uses: Levenberg-Marquardt steps
within a trust region. Fits therefore end in the same of several local optima, or fail alike.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from higherhrnet.arrays import BoolArray, DoubleArray, FloatArray, IndexArray

_TOLERANCE = 1.49012e-8
"""Relative change of the squared error or of the parameters at which a fit ends."""
_MAX_EVALUATIONS = 300
"""Maximum number of evaluations of a Gaussian; a step takes one, and a derivative four."""
_REGION = 100.0
"""Initial radius of the trust region, relative to the parameters."""


class _Points(NamedTuple):
    """The values to which Gaussians are fitted, each (M, N)."""

    values: FloatArray
    y: IndexArray
    x: IndexArray
    used: BoolArray

    def of(self, index: IndexArray) -> _Points:
        return _Points(self.values[index], self.y[index], self.x[index], self.used[index])


def fit_gaussians(
    values: FloatArray, y: IndexArray, x: IndexArray, used: BoolArray, start: DoubleArray
) -> tuple[DoubleArray, BoolArray]:
    """Fits a Gaussian to each of M sets of values.

    Args:
        values: (M, N) values; those that are not used are 0.
        y: (M, N) rows of the values.
        x: (M, N) columns of the values.
        used: (M, N) the values to fit.
        start: (M, 4) initial height, row, column and standard deviation.

    Returns:
        (M, 4) the parameters of least squared error, and (M,) whether they were found.
    """
    points, parameters = _Points(values, y, x, used), start.copy()
    converged = np.zeros(len(start), bool)
    error, jacobian = _residuals(parameters, points)
    scale = np.zeros_like(parameters)
    radius = np.full(len(start), np.nan)
    evaluations = np.full(len(start), 5)
    active = np.arange(len(start))
    while len(active):
        norms = np.sqrt((jacobian[active] ** 2).sum(2))
        scale[active] = np.maximum(scale[active], np.where(norms > 0, norms, scale[active]))
        weights = np.where(scale[active] > 0, scale[active], 1)
        is_first = np.isnan(radius[active])
        size = np.sqrt(((weights * parameters[active]) ** 2).sum(1))
        radius[active] = np.where(is_first, _REGION * np.where(size > 0, size, 1), radius[active])
        step, damping = _step(jacobian[active] / weights[..., None], error[active], radius[active])
        length = np.sqrt((step**2).sum(1))
        radius[active] = np.where(is_first, np.minimum(radius[active], length), radius[active])
        step /= weights
        candidate = parameters[active] - step
        new_error, new_jacobian = _residuals(candidate, points.of(active))
        cost, new_cost = (error[active] ** 2).sum(1), (new_error**2).sum(1)
        linear = ((step[:, None] @ jacobian[active])[:, 0] ** 2).sum(1)
        outcome = _evaluate_step(cost, new_cost, linear, length, damping, radius[active])
        radius[active] = outcome.radius
        better = outcome.ratio >= 1e-4
        accepted = active[better]
        parameters[accepted], error[accepted] = candidate[better], new_error[better]
        jacobian[accepted] = new_jacobian[better]
        evaluations[active] += 1 + 4 * better
        size = np.sqrt(((weights * parameters[active]) ** 2).sum(1))
        small = outcome.is_small | (radius[active] <= _TOLERANCE * size)
        converged[active] = small
        active = active[~small & (evaluations[active] < _MAX_EVALUATIONS)]
    return parameters, converged & np.isfinite(parameters).all(1)


class _Outcome(NamedTuple):
    """The effect of steps, each (A,)."""

    ratio: DoubleArray
    """The reduction of the squared error, relative to the reduction of the linearized one."""
    radius: DoubleArray
    """The radius of the trust region for the next step."""
    is_small: BoolArray
    """Whether the squared error hardly changes."""


def _evaluate_step(
    cost: DoubleArray,
    new_cost: DoubleArray,
    linear: DoubleArray,
    length: DoubleArray,
    damping: DoubleArray,
    radius: DoubleArray,
) -> _Outcome:
    """Compares the reductions of the squared error with those of the linearized one.

    Args:
        cost: (A,) squared errors before the steps.
        new_cost: (A,) squared errors after the steps.
        linear: (A,) squared changes of the linearized error.
        length: (A,) scaled lengths of the steps.
        damping: (A,) dampings of the steps.
        radius: (A,) radii of the trust regions.
    """
    with np.errstate(all="ignore"):
        actual = np.where(0.01 * new_cost < cost, 1 - new_cost / cost, -1)
        slope = -(linear + damping * length**2) / cost
        predicted = (linear + 2 * damping * length**2) / cost
        ratio = np.where(predicted > 0, actual / predicted, 0)
        shrink = np.where(actual >= 0, 0.5, 0.5 * slope / (slope + 0.5 * actual))
    shrink = np.where((0.01 * new_cost >= cost) | ~(shrink >= 0.1), 0.1, shrink)
    smaller = shrink * np.minimum(radius, 10 * length)
    larger = np.where((damping == 0) | (ratio >= 0.75), 2 * length, radius)
    is_small = (np.abs(actual) <= _TOLERANCE) & (predicted <= _TOLERANCE) & (ratio <= 2)
    return _Outcome(ratio, np.where(ratio <= 0.25, smaller, larger), is_small)


def _step(
    jacobian: DoubleArray, error: DoubleArray, radius: DoubleArray
) -> tuple[DoubleArray, DoubleArray]:
    """Computes (A, 4) steps of least linearized error within a radius, and their damping."""
    eigenvalues, vectors = np.linalg.eigh(np.nan_to_num(jacobian @ jacobian.transpose(0, 2, 1)))
    eigenvalues = np.maximum(eigenvalues, 0)
    gradient = np.nan_to_num((jacobian @ error[..., None])[..., 0])
    along = (vectors.transpose(0, 2, 1) @ gradient[..., None])[..., 0]
    floor = 1e-15 * eigenvalues[:, -1:] + 1e-300  # rank: smaller ones are rounding errors
    damping = np.zeros(len(radius))

    def lengths() -> tuple[DoubleArray, DoubleArray]:
        parts = along / (eigenvalues + damping[:, None] + floor)
        return np.sqrt((parts**2).sum(1)), parts

    length, parts = lengths()
    outside = length > 1.1 * radius
    for _ in range(20):
        far = outside & (np.abs(length - radius) > 0.01 * radius)
        if not far.any():
            break
        change = (parts**2 / (eigenvalues + damping[:, None] + floor)).sum(1)
        newton = length**2 / np.maximum(change, 1e-300) * (length - radius) / radius
        damping = np.where(far, np.maximum(damping + newton, 0), damping)
        length, parts = lengths()
    return (vectors @ parts[..., None])[..., 0], damping


def _residuals(parameters: DoubleArray, points: _Points) -> tuple[DoubleArray, DoubleArray]:
    """Computes (M, N) errors of Gaussians and their (M, 4, N) derivatives by the parameters."""
    height, row, column, sigma = (parameter[:, None] for parameter in parameters.T)
    dy, dx = points.y - row, points.x - column
    with np.errstate(all="ignore"):
        squared = dy * dy
        squared += dx * dx
        jacobian = np.empty((len(dy), 4, dy.shape[1]))
        shape = jacobian[:, 0]
        np.exp(squared * (-0.5 / sigma**2), out=shape)
        shape *= points.used
        fitted = height * shape
        slope = fitted / sigma**2
        np.multiply(slope, dy, out=jacobian[:, 1])
        np.multiply(slope, dx, out=jacobian[:, 2])
        np.multiply(slope, squared / sigma, out=jacobian[:, 3])
    fitted -= points.values
    return fitted, jacobian
