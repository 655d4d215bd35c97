"""Constants of the architecture, which the network in torch and its ONNX graph share."""

from __future__ import annotations

STEM_CHANNELS = 64
"""Channels of the stem's convolutions, and of the 3×3 convolutions in layer1."""
LAYER1_BLOCKS = 4
"""Bottleneck blocks in layer1."""
BOTTLENECK_EXPANSION = 4
"""Factor by which the last convolution of a bottleneck block multiplies the channels."""
DECONV_PADDING = {4: (1, 0), 3: (1, 1), 2: (0, 0)}
"""For each kernel size, the padding and output padding with which a transposed convolution of
stride 2 doubles height and width."""
OFFSET_CHANNELS = 15
"""Channels of each keypoint in DEKR's offset head."""
OFFSET_BLOCKS = 2
"""Adaptive blocks of each keypoint in DEKR's offset head."""
CENTER_HEAD_CHANNELS = 96
"""Channels of the hidden layers of HigherHRNet's head for centers and offsets, as in MoveNet."""
TAPS = [(row, column) for row in (-1, 0, 1) for column in (-1, 0, 1)]
"""The vertical and horizontal position of each tap of a 3×3 kernel, relative to its middle."""
