"""What the metrics do not include, and people whose annotation makes them hardly matchable."""

from __future__ import annotations

from higherhrnet.evaluation.keypoint_similarity import is_evaluated
from higherhrnet.evaluation.pairing import PairedResults
from higherhrnet.io.datasets.coco_entries import annotation_name, has_negligible_area, image_name
from higherhrnet.io.findings import Finding


def evaluation_notes(paired: PairedResults) -> list[str]:
    """Lists what was left out, merged or assumed, and people with an area of about 0.

    Returns:
        Lines of text; none for a dataset without such cases.
    """
    findings = [*paired.annotations.findings, _negligible_areas(paired)]
    notes = [finding.summary() for finding in findings if finding.cases]
    if paired.num_ignored:
        notes.append(f"note: {paired.num_ignored:,} results of other categories are left out")
    return notes


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
