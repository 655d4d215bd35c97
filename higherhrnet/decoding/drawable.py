"""The maps of an image at one size, for drawing."""

from __future__ import annotations

from typing import NamedTuple

from higherhrnet.arrays import FloatArray


class DrawableMaps(NamedTuple):
    """The maps of one image. None: the network does not predict these maps."""

    heatmaps: FloatArray
    """(K, h, w) heatmaps, about 0 to 1."""
    tags: FloatArray | None = None
    """(K or 1, h, w, T) tags."""
    centers: FloatArray | None = None
    """(h, w) heatmap of the centers of people, about 0 to 1."""
    offsets: FloatArray | None = None
    """(2K, h, w) offsets in cells: for each keypoint x, then y."""
