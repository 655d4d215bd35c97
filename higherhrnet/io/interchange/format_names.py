"""The names of the formats in `formats.py`, whose modules are only imported to write them."""

from typing import Literal

FormatName = Literal[
    "coco", "deeplabcut", "deeplabcut-h5", "label-studio", "openpose", "openpose-coco"
]
"""A format of other programs in which predictions can be written."""
