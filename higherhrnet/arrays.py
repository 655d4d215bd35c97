"""The array types of the package, each defined once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
"""(H, W, 3) red, green and blue, 0 to 255."""
FloatArray = NDArray[np.float32]
"""Images and maps of a network, keypoints, scores."""
DoubleArray = NDArray[np.float64]
"""Coordinates and measurements that are computed in double precision."""
IndexArray = NDArray[np.intp]
"""Indices into another array."""
BoolArray = NDArray[np.bool_]
"""Masks."""
