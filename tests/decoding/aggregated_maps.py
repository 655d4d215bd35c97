"""All steps of aggregation for one image."""

from collections.abc import Mapping, Sequence

from higherhrnet.arrays import FloatArray
from higherhrnet.decoding.aggregate import Maps, merge_scales, merge_views


def aggregate(
    outputs: Mapping[float, Sequence[FloatArray]],
    num_keypoints: int,
    flip_index: Sequence[int],
    decode_size: tuple[int, int] | None,
    align_corners: bool = False,
) -> Maps:
    """Merges the network's outputs at all scales; the arguments are those of the two functions."""
    merged = {
        scale: merge_views(levels, num_keypoints, flip_index, align_corners)
        for scale, levels in outputs.items()
    }
    return merge_scales(merged, decode_size, align_corners)
