"""Draws the figure of the two methods for the documentation.

    python -m tools.figures examples/basketball1.png docs/pictures/methods.jpg

The upper row is HigherHRNet: the heatmaps and the tags of the bundled model, and the people. The
lower row is DEKR: its maps are computed from these people, since no weights of DEKR are bundled.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import tyro
from tyro.conf import Positional

from higherhrnet import Poses, Predictor, draw, read_image, write_image
from higherhrnet.arrays import FloatArray, Image
from higherhrnet.visualization.maps import draw_heatmaps, draw_tags
from higherhrnet.visualization.offsets import draw_offsets

STRIDE = 4
MIN_SCORE = 0.2
"""Keypoints with a lower score are omitted, as in drawn images."""
FIGURE_WIDTH, GAP, CAPTION_HEIGHT = 1440, 8, 26
CAPTIONS = (
    ("heatmaps: where keypoints are", "tags: whose they are", "people: equal tags"),
    ("center heatmap: where people are", "offsets to their keypoints", "people: one per center"),
)


def center_maps(poses: Poses, height: int, width: int) -> tuple[FloatArray, FloatArray]:
    """Computes the maps that DEKR learns for people: center heatmap (h, w), offsets (2K, h, w).

    Args:
        poses: the people.
        height: height of the image in pixels.
        width: width of the image in pixels.
    """
    rows, columns = np.indices((height // STRIDE, width // STRIDE)).astype(np.float32)
    heatmap = np.zeros(rows.shape, np.float32)
    offsets = np.zeros((2 * len(poses.skeleton), *rows.shape), np.float32)
    for person in poses:
        keypoints, drawn = person.keypoints[0] / STRIDE, person.keypoint_scores[0] >= MIN_SCORE
        x, y = keypoints[drawn].mean(0)
        blob = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * 4**2))
        near = blob > heatmap
        heatmap = np.maximum(heatmap, blob)
        for index in np.nonzero(drawn)[0]:
            offsets[2 * index][near] = (columns - keypoints[index, 0])[near]
            offsets[2 * index + 1][near] = (rows - keypoints[index, 1])[near]
    return heatmap, offsets


def captioned(image: Image, text: str) -> Image:
    """Adds a caption above an image, and a margin."""
    framed = cv2.copyMakeBorder(
        image, CAPTION_HEIGHT, GAP, GAP // 2, GAP // 2, cv2.BORDER_CONSTANT, value=(22, 22, 27)
    )
    font, origin = cv2.FONT_HERSHEY_SIMPLEX, (GAP, CAPTION_HEIGHT - 8)
    cv2.putText(framed, text, origin, font, 0.55, (225, 225, 230), 1, cv2.LINE_AA)
    return np.asarray(framed, np.uint8)


def write_figure(image: Positional[Path], out: Positional[Path], /) -> None:
    """Draws the figure.

    Args:
        image: The image of people.
        out: The .jpg file to write.
    """
    predictor = Predictor.load()
    pixels = read_image(image)
    preprocessed = predictor.preprocess(pixels)
    [outputs] = predictor.forward([preprocessed])
    poses = predictor.postprocess(preprocessed, outputs)
    network_image, maps = predictor.drawable_maps(pixels, preprocessed, outputs)
    assert maps.tags is not None
    height, width = pixels.shape[:2]
    large = np.asarray(cv2.resize(network_image, None, fx=2, fy=2), np.uint8)
    x, y, box_width, _ = preprocessed.base_resize.box()
    scale = large.shape[1] / box_width  # the network's input has margins beside the image
    left, top = round(-x * scale), round(-y * scale)
    part = np.s_[top : top + round(height * scale), left : left + round(width * scale)]

    def cropped(drawing: Image) -> Image:
        resized = cv2.resize(drawing[part], (width, height), interpolation=cv2.INTER_AREA)
        return np.asarray(resized, np.uint8)

    people = draw(pixels, poses)
    centers, offsets = center_maps(poses, height, width)
    rows = (
        (
            cropped(draw_heatmaps(large, maps.heatmaps)),
            cropped(draw_tags(large, maps.heatmaps, maps.tags)),
            people,
        ),
        (draw_heatmaps(pixels, centers[None]), draw_offsets(pixels, centers, offsets), people),
    )
    tiles = [
        np.hstack([captioned(*pair) for pair in zip(row, captions, strict=True)])
        for row, captions in zip(rows, CAPTIONS, strict=True)
    ]
    figure = np.vstack(tiles)
    size = FIGURE_WIDTH, round(figure.shape[0] * FIGURE_WIDTH / figure.shape[1])
    write_image(out, np.asarray(cv2.resize(figure, size, interpolation=cv2.INTER_AREA), np.uint8))


if __name__ == "__main__":
    tyro.cli(write_figure)
