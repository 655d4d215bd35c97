"""The frames of a stream, as they are passed from reading to the network and to decoding."""

from __future__ import annotations

from dataclasses import dataclass

from higherhrnet.errors import InputError
from higherhrnet.inference.processing import Outputs, PreprocessedImage
from higherhrnet.io.sources import Frame, Source
from higherhrnet.poses.poses import Poses

Input = tuple[Frame, PreprocessedImage]
"""A frame that is ready for the network."""
Output = tuple[Frame, PreprocessedImage, Outputs]
"""A frame with the network's outputs."""


@dataclass(frozen=True)
class FrameResult:
    """The poses of one frame, and the data from which they were computed."""

    frame: Frame
    poses: Poses
    preprocessed: PreprocessedImage
    """The transforms to the network's input, without the inputs."""
    outputs: Outputs


@dataclass(frozen=True)
class FailedSource:
    """A source that could not be processed completely."""

    source: Source
    reason: InputError
    was_read: bool = False
    """Whether it was read and preprocessed, and the network or decoding failed."""


def with_name(frame: Frame, error: InputError) -> InputError:
    """Returns the error with the name of the frame's source in its message."""
    return InputError(f"{frame.source.name}: {error}")
