r"""Writes the animated image of the README: a video with the tracked people drawn, as WebP.

    higherhrnet predict examples/pedestrians.mp4 --track --no-draw --out street
    python -m tools.animation examples/pedestrians.mp4 street/predictions.json \
        docs/pictures/street.webp

The video that `predict` writes is not used, because it is compressed already.
"""

from __future__ import annotations

import json
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import tyro
from tyro.conf import Positional

from higherhrnet import COCO, Poses, draw
from higherhrnet.io.sources import Source, read_frames
from higherhrnet.io.video.video_writer import timestamp

MAX_BYTES = 2_000_000
"""The maximum size of the file."""


def write_animation(
    video: Positional[Path],
    predictions: Positional[Path],
    out: Positional[Path],
    /,
    *,
    area: tuple[float, float, float, float] = (0.3, 0.2, 1.0, 0.76),
    width: int = 720,
    quality: int = 70,
) -> None:
    """Draws the predictions of a video on its frames and writes them as an animation.

    Args:
        video: The video.
        predictions: The predictions.json that `higherhrnet predict --track` wrote for it.
        out: The .webp file to write.
        area: The part of the frames that is shown: left, top, right and bottom edge as fractions
            of width and height.
        width: Width of the animation in pixels.
        quality: Quality of the compression, 1 to 100.
    """
    people: defaultdict[int, list[dict[str, Any]]] = defaultdict(list)
    for person in json.loads(predictions.read_text(encoding="utf-8")):
        people[person["frame"]].append(person)
    animation, times, images = cv2.Animation(), [], []
    for frame in read_frames(Source(video.name, video)):
        drawn = draw(frame.image, Poses.from_coco(people[frame.index or 0], COCO))
        left, top, right, bottom = (
            round(edge * side) for edge, side in zip(area, 2 * drawn.shape[1::-1], strict=True)
        )
        part = cv2.cvtColor(drawn[top:bottom, left:right], cv2.COLOR_RGB2BGR)
        size = width, round(part.shape[0] * width / part.shape[1])
        images.append(cv2.resize(part, size, interpolation=cv2.INTER_CUBIC))
        times.append(timestamp(frame))
    steps = [round(1000 * (after - before)) for before, after in pairwise(times)]
    animation.frames, animation.durations = images, [*steps, steps[-1]]
    cv2.imwriteanimation(str(out), animation, [cv2.IMWRITE_WEBP_QUALITY, quality])
    size_in_bytes = out.stat().st_size
    print(f"{out}: {len(images)} frames, {size_in_bytes / 1e6:.2f} MB")
    if size_in_bytes > MAX_BYTES:
        raise SystemExit(f"{out}: more than {MAX_BYTES / 1e6:g} MB; lower --width or --quality")


if __name__ == "__main__":
    tyro.cli(write_animation)
