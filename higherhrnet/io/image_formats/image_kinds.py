"""Names the kinds of files that are not read as images, for error messages."""

from __future__ import annotations

import re

from higherhrnet.io.image_formats.tiff import read_tiff_header

SUPPORTED = "JPEG, PNG, WebP, TIFF, BMP, GIF, JPEG 2000, PNM"
"""The formats of images that the base installation reads."""

_RAW = "a camera's raw file ({}); develop it to JPEG or PNG"
_VIDEO = "a video ({})"
_KINDS: tuple[tuple[bytes, str], ...] = (
    (rb"II\*\0....CR", _RAW.format("CR2")),
    (rb"FUJIFILMCCD-RAW", _RAW.format("RAF")),
    (rb"IIR[OS]|MMOR", _RAW.format("ORF")),
    (rb"IIU\0", _RAW.format("RW2")),
    (rb"FOVb", _RAW.format("X3F")),
    (rb"....ftypcrx ", _RAW.format("CR3")),
    (rb"....(ftyp|moov|mdat|wide|free)", _VIDEO.format("MP4 or QuickTime")),
    (rb"RIFF....AVI ", _VIDEO.format("AVI")),
    (rb"\x1aE\xdf\xa3", _VIDEO.format("Matroska or WebM")),
    (rb"\0\0\x01[\xb3\xba]", _VIDEO.format("MPEG")),
    (rb"#\?(RADIANCE|RGBE)", "a Radiance HDR image; convert it to PNG or to a 32-bit float TIFF"),
    (rb"v/1\x01", "an OpenEXR image; convert it to PNG or to a 32-bit float TIFF"),
    (rb"P[Ff]\s", "a PFM image; convert it to PNG or to a 32-bit float TIFF"),
    (rb"P7\s", "a PAM image; convert it to PNG"),
    (rb"\xff\x0a|\0\0\0\x0cJXL ", "a JPEG XL image; convert it to JPEG or PNG"),
    (rb"II\xbc", "a JPEG XR image; convert it to JPEG or PNG"),
    (rb"\xff\xd8\xff\xf7", "a JPEG-LS image; convert it to JPEG or PNG"),
    (rb"8BPS", "a Photoshop document; export it as JPEG or PNG"),
    (rb"gimp xcf", "a GIMP document; export it as JPEG or PNG"),
    (rb"\0\0\x01\0[\x01-\x40]\0", "an icon (ICO); convert it to PNG"),
    (rb"icns", "an icon (ICNS); convert it to PNG"),
    (rb"DDS ", "a DDS texture; convert it to PNG"),
    (rb"BPG\xfb", "a BPG image; convert it to PNG"),
    (rb"\x59\xa6\x6a\x95", "a Sun raster image; convert it to PNG"),
    (rb".{128}DICM", "a DICOM file; export it as PNG"),
    (rb"SIMPLE  =", "a FITS file; export it as PNG"),
    (rb"%PDF-", "a PDF document; export its pages as PNG"),
    (rb"%!PS|\xc5\xd0\xd3\xc6", "a PostScript document; export it as PNG"),
    (rb"PK\x03\x04", "a .zip archive; extract it"),
    (rb"\x1f\x8b", "a gzip file; decompress it"),
    (rb"\x93NUMPY", "a NumPy array; pass it to Predictor, or save it as PNG"),
    (rb"version https://git-lfs", "a Git LFS pointer instead of the file; run `git lfs pull`"),
    (rb"\s*<(?i:!doctype html|html|head|body)", "an HTML page, such as the error page of a "
     "download"),
    (rb"\s*<(svg[\s>]|(\?xml|!--|!DOCTYPE svg).{0,2000}?<svg[\s>])", "an SVG drawing; export it as "
     "PNG"),
)  # fmt: skip
"""A regular expression of the beginning of each kind of file, and what it is."""
_PATTERNS = [
    (re.compile(b"\xef?\xbb?\xbf?(?:" + pattern + b")", re.DOTALL), kind)
    for pattern, kind in _KINDS
]


def unreadable_kind(data: bytes) -> str | None:
    """Returns what a file is, as a predicate, if it is not an image that can be read.

    Args:
        data: the file, or at least its first 4096 bytes.

    Returns:
        For example "a PDF document; export its pages as PNG"; None if it is unknown or an image.
    """
    if (tiff := read_tiff_header(data)) and tiff.is_raw:
        return _RAW.format("DNG, NEF or a similar format")
    beginning = data[:4096]
    return next((kind for pattern, kind in _PATTERNS if pattern.match(beginning)), None)
