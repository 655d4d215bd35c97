"""The array types of the package."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
"""(H, W, 3) RGB values, 0 to 255."""
FloatArray = NDArray[np.float32]
"""Network inputs, maps, keypoints and scores."""
DoubleArray = NDArray[np.float64]
"""Coordinates and measurements in double precision."""
IndexArray = NDArray[np.intp]
"""Indices into another array."""
BoolArray = NDArray[np.bool_]
"""Masks."""
