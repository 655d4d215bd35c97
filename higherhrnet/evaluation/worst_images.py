"""The photographs in which most was lost, the truth beside what was found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from higherhrnet.arrays import Image
from higherhrnet.errors import InputError
from higherhrnet.evaluation import html as page
from higherhrnet.evaluation.error_analysis import ErrorCounts, top_results
from higherhrnet.evaluation.pairing import PairedResults
from higherhrnet.io.coco import Entry
from higherhrnet.io.image_store import ImageStore
from higherhrnet.io.images import write_image
from higherhrnet.poses import Poses
from higherhrnet.skeleton import Skeleton
from higherhrnet.visualization.poses import draw

COUNT = 20
SIDE = 800
"""Pixels of a drawn photograph's longer side: small ones are enlarged, for finer lines."""


def draw_worst(
    folder: Path, comparison: PairedResults, mistakes: Sequence[ErrorCounts], pictures: Path | None
) -> str:
    """Draws the worst photographs into a folder `worst`, and returns their part of the page.

    Without `pictures` their names are listed. One that cannot be read is named with the reason.
    """
    opened = ImageStore(pictures) if pictures else None
    people, found = comparison.people_by_image, comparison.found_by_image
    losses = np.array([one.lost for one in mistakes])
    order = np.argsort(-losses, kind="stable")[:COUNT]
    figures = []
    for place, number in enumerate(order[losses[order] > 0], 1):
        image, skeleton = comparison.images[number], comparison.annotations.skeleton
        name = str(image.get("file_name", image["id"]))
        caption = f"{name}: {_summary(mistakes[number])}"
        files = []
        try:
            photograph = opened.read(name) if opened else None
        except InputError as error:
            photograph, caption = None, f"{caption} ({error})"
        if photograph is not None:
            for what, entries in (("truth", people[number]), ("found", top_results(found[number]))):
                address = f"worst/{place:02}_{what}.jpg"
                write_image(folder / address, _drawn(photograph, entries, skeleton))
                files.append((address, f"{name}, {what}"))
        figures.append(page.pictures(files, caption))
    return page.section(
        "Worst photographs",
        "Where most was lost: 1 − OKS for each person, and the score of each duplicate and each "
        "result on the background. First the truth, then the 20 best results.",
        "".join(figures),
    )


def _summary(mistakes: ErrorCounts) -> str:
    """What went wrong, in a few words."""
    parts = [
        f"{count} {kind}{what}"
        for counts, right, what in (
            (mistakes.people, {"found"}, ""),
            (mistakes.results, {"a person's own", "not judged", "merged"}, ""),
            (mistakes.keypoints, {"good"}, " keypoints"),
        )
        for kind, count in counts.most_common()
        if kind not in right
    ]
    return ", ".join([f"{mistakes.lost:.1f} lost", *parts])


def _drawn(photograph: Image, entries: Sequence[Entry], skeleton: Skeleton) -> Image:
    poses = Poses.from_coco(entries, skeleton)
    height, width = photograph.shape[:2]
    scale = SIDE / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    resized = np.asarray(cv2.resize(photograph, size, interpolation=way), np.uint8)
    # Annotations count pixels by their index: the first one's centre is at 0.
    keypoints = (poses.keypoints + 0.5) * scale - 0.5
    return draw(resized, replace(poses, keypoints=keypoints.astype(np.float32)))
