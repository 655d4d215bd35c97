"""The decoders, one for each head of a network: maps → poses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from higherhrnet.config.header import Header
from higherhrnet.config.inference import InferenceConfig
from higherhrnet.config.model import HeadName
from higherhrnet.decoding.drawable import DrawableMaps
from higherhrnet.decoding.tag_decoder import TagDecoder
from higherhrnet.geometry import Resize
from higherhrnet.poses.poses import Poses


class Decoder(Protocol):
    """Finds the people in the outputs of a network."""

    map_names: tuple[str, ...]
    """The names of the maps that can be drawn: the keys of what `draw_overlays` returns."""

    def base_scale(self, scales: Sequence[float]) -> float:
        """Returns the scale at which the sides of the network's input are multiples of 64.

        Raises:
            InputError: the decoder does not support the scales.
        """
        ...

    def merge_views(self, levels: Sequence[Any]) -> Sequence[Any]:
        """Merges the views of one image at one scale.

        Args:
            levels: the network's outputs, with one row for each view. The first view is plain, and
                the second, if there is one, is flipped.

        Returns:
            The maps of the scale.
        """
        ...

    def merge_scales(
        self,
        scales: Mapping[float, Sequence[Any]],
        input_size: tuple[int, int],
        config: InferenceConfig,
    ) -> Any:  # noqa: ANN401 (each decoder has maps of its own)
        """Merges the maps of one image over its scales.

        Args:
            scales: for each scale, what `merge_views` returned.
            input_size: height and width of the network's input at scale 1, or at the only scale.
            config: the inference settings.

        Returns:
            The maps that `decode` accepts; their `decode_size` is the height and width in which
            people are decoded.

        Raises:
            InputError: the maps contain NaN or infinity.
        """
        ...

    def decode(
        self,
        maps: Any,  # noqa: ANN401
        transform: Resize,
        config: InferenceConfig,
    ) -> Poses:
        """Finds the people of one image.

        Args:
            maps: what `merge_scales` returned.
            transform: the transform from the image to the network's input at any scale.
            config: the inference settings.

        Returns:
            The people in pixels of the image, before `select`.
        """
        ...

    def drawable(self, maps: Any) -> DrawableMaps:  # noqa: ANN401
        """Converts what `merge_scales` returned to maps of equal size for drawing."""
        ...


def _offset_decoder(header: Header) -> Decoder:
    """Creates the decoder of offsets, whose modules other models do not need."""
    from higherhrnet.decoding.offsets.offset_decoder import OffsetDecoder

    return OffsetDecoder(header)


def _center_decoder(header: Header) -> Decoder:
    """Creates the decoder of tags and offsets, which imports those of both."""
    from higherhrnet.decoding.center_decoder import CenterDecoder

    return CenterDecoder(header)


DECODERS: dict[HeadName, Callable[[Header], Decoder]] = {
    "tags": TagDecoder,
    "offsets": _offset_decoder,
    "tags-and-offsets": _center_decoder,
}
"""The decoder of each head."""


def load_decoder(header: Header) -> Decoder:
    """Creates the decoder for the outputs of a model."""
    return DECODERS[header.model.head](header)
