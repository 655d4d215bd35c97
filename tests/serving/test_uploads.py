"""What a body holds, before anything is decoded."""

import io

import numpy as np

from higherhrnet.io.images import encode_image, read_image
from higherhrnet.serving.uploads import photographs


def test_what_follows_a_jpeg_counts_no_scans() -> None:
    """Phones append films and depth maps, in which the marker's two bytes come by chance."""
    image = np.zeros((32, 32, 3), np.uint8)
    tail = np.random.default_rng(0).bytes(16_000_000)
    assert tail.count(b"\xff\xda") > 200
    (data,) = photographs("image/jpeg", encode_image(image, ".jpg") + tail, 1)
    assert np.array_equal(read_image(io.BytesIO(data)), image)
