"""What the metrics do not include, and people whose annotation makes them hardly matchable."""

from __future__ import annotations

import numpy as np

from higherhrnet.evaluation.keypoint_similarity import is_evaluated
from higherhrnet.evaluation.pairing import PairedResults
from higherhrnet.io.datasets.coco_entries import annotation_name, has_negligible_area, image_name
from higherhrnet.io.findings import Finding
from higherhrnet.messages import counted

_MIN_PIXELS = 2
"""Results of which no coordinate reaches this number of pixels are fractions of the image's size;
those of keypoints outside of the image exceed 1."""


def evaluation_notes(paired: PairedResults) -> list[str]:
    """Lists what was left out, merged or assumed, and what makes matches nearly impossible.

    Returns:
        Lines of text; none for a dataset without such cases.
    """
    findings = [*paired.annotations.findings, _negligible_areas(paired)]
    notes = [finding.summary() for finding in findings if finding.cases]
    if paired.num_ignored:
        other = "result of another category is", "results of other categories are"
        notes.append(f"note: {counted(paired.num_ignored, *other)} left out")
    if paired.ignores_category:
        notes.append("note: category_id is ignored, since no result is of the people's category")
    if not paired.results:
        notes.append("note: there are no results")
    elif _are_relative(paired):
        notes.append("error: all coordinates of the results are about 0 to 1, not in pixels")
    return notes


def _are_relative(paired: PairedResults) -> bool:
    """Whether the coordinates of the results seem to be fractions of the size of the image."""
    points = np.concatenate([np.reshape(r["keypoints"], (-1, 3)) for r in paired.results])
    return bool(points[:, :2].any() and np.abs(points[:, :2]).max() < _MIN_PIXELS)


def _negligible_areas(paired: PairedResults) -> Finding:
    evaluated = [
        (annotation, person)
        for annotation, person in zip(paired.annotations.people, paired.people, strict=True)
        if is_evaluated(person)
    ]
    return Finding(
        "person has an area of about 0, so that hardly any result can match",
        "people have an area of about 0, so that hardly any result can match",
        [
            f"{image_name(paired.images[person['image_id']])}, {annotation_name(annotation)}: "
            f"area {person['area']:g}"
            for annotation, person in evaluated
            if has_negligible_area(person)
        ],
        total=len(evaluated),
    )
