"""The results of `higherhrnet bench`, which are also written as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from higherhrnet.bench.pipeline import STEPS, LatencyRun, PipelineInfo
from higherhrnet.bench.timing import Measurement
from higherhrnet.poses.poses import Poses


@dataclass(frozen=True)
class Latency:
    """The time from an image file to poses."""

    synthetic_people: int | None
    """Number of people in the synthetic maps that are decoded; None: the network's own maps."""
    milliseconds: dict[str, Measurement]
    """The durations of read, preprocess, network, merge and decode, and their total."""
    people: int
    """Number of people found."""
    speedup: float | None
    """The median of the reference implementation divided by this one; None without that."""
    equal: bool | None
    """Whether the poses equal those of the reference implementation; None without that."""

    @classmethod
    def of(
        cls, people: int | None, runs: Sequence[LatencyRun], reference: Sequence[LatencyRun]
    ) -> Latency:
        """Summarizes runs, and compares them with those of the reference implementation if any."""
        poses, measured, speedup, equal = runs[0].poses, _summarize(runs), None, None
        if reference:
            speedup = _summarize(reference)["total"].median / measured["total"].median
            equal = equal_poses(reference[0].poses, poses)
        return cls(people, measured, len(poses), speedup, equal)


def _summarize(runs: Sequence[LatencyRun]) -> dict[str, Measurement]:
    return {step: Measurement.of(run.milliseconds[step] for run in runs) for step in STEPS}


def equal_poses(first: Poses, second: Poses) -> bool:
    """Whether poses are equal, in the same order: to 0.01 pixels, and 0.001 in the scores."""
    return len(first) == len(second) and bool(
        np.allclose(first.keypoints, second.keypoints, rtol=0, atol=1e-2)
        and np.allclose(first.keypoint_scores, second.keypoint_scores, rtol=0, atol=1e-3)
        and np.allclose(first.scores, second.scores, rtol=0, atol=1e-3)
    )


@dataclass(frozen=True)
class Throughput:
    """Many images, of which some are read and decoded while others are in the network."""

    images_per_second: Measurement
    network_busy: Measurement
    """Share of the time in which network calls are in progress, 0 to 1, averaged over streams."""
    pipeline: PipelineInfo
    """After all images."""


@dataclass(frozen=True)
class EngineResult:
    """The results of one engine and precision, or of the reference implementation."""

    name: str
    pipeline: PipelineInfo
    """After one image."""
    latency: list[Latency]
    """With the network's own maps, then with synthetic maps."""
    throughput: Throughput | None
    """None for the reference implementation, which processes one image at a time."""


@dataclass(frozen=True)
class SizeResult:
    """The results at one input size."""

    image: str
    """The image whose latency is measured."""
    engines: list[EngineResult]
    """The reference implementation first, if it could be measured."""
    skipped: dict[str, str]
    """The engines that could not be measured, and why."""
