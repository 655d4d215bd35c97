"""Published weights, as far as the public record goes: where they are, what they reach, whose.

Left out are weights that this package could not read rightly: MMPose's UDP ones, which count pixels
in a way of their own, and those for skeletons it does not have (AI Challenger, COCO-WholeBody). The
paper's CrowdPose weights were never released.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

from higherhrnet.errors import InputError


@dataclass(frozen=True)
class PublishedModel:
    """A weight file that somebody else hosts, in a form that `higherhrnet convert` reads.

    None means that the public record does not say, or that the fact does not apply.
    """

    name: str
    """What `higherhrnet download` calls it."""
    url: str
    """Where the file itself is."""
    page: str
    """Where a person reads about it and can fetch it by hand."""
    source: Literal["authors", "mmpose", "imagenet"]
    """Whose key names it has: the authors', MMPose's, or an ImageNet classifier's (trunk only)."""
    width: int
    license: str
    input_size: int | None = None
    """Pixels of the photograph's shorter side."""
    skeleton: str | None = None
    """A name in `higherhrnet.skeleton.SKELETONS`; None for a trunk."""
    measured_on: str | None = None
    """The data set that the two figures below were published for."""
    ap: float | None = None
    """Average precision in percent at one scale, with flip test."""
    ap_multi_scale: float | None = None
    """Average precision in percent at scales 0.5, 1 and 2 (unless the note says otherwise)."""
    size: int | None = None
    """Bytes."""
    digest: str | None = None
    """`sha256:` or `sha384:` and the hexadecimal digits, or as many of the first as are known."""
    note: str = ""


def published_model(name: str) -> PublishedModel:
    """The published model of this name.

    Raises:
        InputError: there is none.
    """
    models = {model.name: model for model in PUBLISHED}
    if name not in models:
        alike = get_close_matches(name, models)
        hint = f"did you mean {' or '.join(alike)}?" if alike else "`higherhrnet models` lists all"
        raise InputError(f"{name}: no such published model; {hint}")
    return models[name]


def format_models(models: Sequence[PublishedModel]) -> str:
    """A table of the models for people to read, one a line, then where each is and its digest."""
    heading = ("name", "width", "input", "AP, one scale / several", "size", "licence", "digest")
    rows = [heading, *map(_row, models)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    places = (f"{model.name}: {model.url}, {model.digest or 'no digest'}" for model in models)
    return "\n".join([*lines, "", *places])


def _row(model: PublishedModel) -> tuple[str, ...]:
    figures = f"{model.ap} / {model.ap_multi_scale} on {model.measured_on}"
    return (
        model.name,
        str(model.width),
        str(model.input_size or "–"),
        figures if model.ap else "– (a trunk)",
        f"{model.size / 1e6:.0f} MB" if model.size else "unknown",
        model.license,
        model.digest.partition(":")[0] if model.digest else "unknown",
    )


def _google_drive(file_id: str) -> str:
    return f"https://drive.usercontent.google.com/download?id={file_id}&export=download&confirm=t"


_AUTHORS = "https://github.com/HRNet/HigherHRNet-Human-Pose-Estimation"
_AUTHORS_FOLDER = "https://drive.google.com/drive/folders/1X9-TzWpwbX2zQf2To8lB-ZQHMYviYYh6"
_MMPOSE_FILES = "https://download.openmmlab.com/mmpose"
_MMPOSE_PAGES = (
    "https://github.com/open-mmlab/mmpose/blob/0.x/configs/body/2d_kpt_sview_rgb_img/"
    "associative_embedding"
)

# MMPose's publishing script ends a file's name with the first 8 digits of its SHA-256.
PUBLISHED = (
    PublishedModel(
        "w32-512",
        url="https://storage.openvinotoolkit.org/repositories/open_model_zoo/public/2022.1/"
        "higher-hrnet-w32-human-pose-estimation/ckpt/pose_higher_hrnet_w32_512.pth",
        page=_AUTHORS,
        source="authors",
        width=32,
        license="MIT",
        input_size=512,
        skeleton="coco",
        measured_on="COCO val2017",
        ap=67.1,
        ap_multi_scale=69.9,
        size=115_172_215,
        digest="sha384:d344fcc4e426308139397bd708be1c59500e038a540ea0979b6a10556b5f3530"
        "701d86c0cab276fc5710419f91879e3d",
        note="the authors' file as Intel's Open Model Zoo mirrors it",
    ),
    PublishedModel(
        "w32-640",
        url=_google_drive("1uEcQlm1rjV-JRgVbaP79Y5sMLqUX2ciD"),
        page=_AUTHORS_FOLDER,
        source="authors",
        width=32,
        license="MIT",
        input_size=640,
        skeleton="coco",
        measured_on="COCO val2017",
        ap=68.5,
        ap_multi_scale=70.6,
        note="the published figures were measured in half precision",
    ),
    PublishedModel(
        "w48-640",
        url=_google_drive("10j9Wx_I2H6qaw-prAdlJ44fLryDtA-ah"),
        page=_AUTHORS_FOLDER,
        source="authors",
        width=48,
        license="MIT",
        input_size=640,
        skeleton="coco",
        measured_on="COCO val2017",
        ap=69.9,
        ap_multi_scale=72.1,
        note="the published figures were measured in half precision",
    ),
    PublishedModel(
        "mmpose-w32-512",
        url=f"{_MMPOSE_FILES}/bottom_up/higher_hrnet32_coco_512x512-8ae85183_20200713.pth",
        page=f"{_MMPOSE_PAGES}/coco/higherhrnet_coco.md",
        source="mmpose",
        width=32,
        license="Apache-2.0",
        input_size=512,
        skeleton="coco",
        measured_on="COCO val2017",
        ap=67.7,
        ap_multi_scale=70.6,
        digest="sha256:8ae85183",
    ),
    PublishedModel(
        "mmpose-w32-640",
        url=f"{_MMPOSE_FILES}/bottom_up/higher_hrnet32_coco_640x640-a22fe938_20200712.pth",
        page=f"{_MMPOSE_PAGES}/coco/higherhrnet_coco.md",
        source="mmpose",
        width=32,
        license="Apache-2.0",
        input_size=640,
        skeleton="coco",
        measured_on="COCO val2017",
        ap=68.6,
        ap_multi_scale=70.6,
        digest="sha256:a22fe938",
    ),
    PublishedModel(
        "mmpose-w48-512",
        url=f"{_MMPOSE_FILES}/bottom_up/higher_hrnet48_coco_512x512-60fedcbc_20200712.pth",
        page=f"{_MMPOSE_PAGES}/coco/higherhrnet_coco.md",
        source="mmpose",
        width=48,
        license="Apache-2.0",
        input_size=512,
        skeleton="coco",
        measured_on="COCO val2017",
        ap=68.6,
        ap_multi_scale=71.6,
        digest="sha256:60fedcbc",
    ),
    PublishedModel(
        "mmpose-crowdpose-w32-512",
        url=f"{_MMPOSE_FILES}/bottom_up/higher_hrnet32_crowdpose_512x512-1aa4a132_20201017.pth",
        page=f"{_MMPOSE_PAGES}/crowdpose/higherhrnet_crowdpose.md",
        source="mmpose",
        width=32,
        license="Apache-2.0",
        input_size=512,
        skeleton="crowdpose",
        measured_on="CrowdPose test",
        ap=65.5,
        ap_multi_scale=66.1,
        digest="sha256:1aa4a132",
        note="several scales were 1 and 2; MMPose groups its keypoints in the order of their names",
    ),
    PublishedModel(
        "imagenet-w18",
        url="https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-hrnet/"
        "hrnetv2_w18-8cb57bb9.pth",
        page="https://github.com/HRNet/HRNet-Image-Classification",
        source="imagenet",
        width=18,
        license="MIT",
        note="the HRNet authors' classifier as timm mirrors it",
    ),
    PublishedModel(
        "imagenet-w32",
        url=f"{_MMPOSE_FILES}/pretrain_models/hrnet_w32-36af842e.pth",
        page=_AUTHORS,
        source="imagenet",
        width=32,
        license="MIT",
        note="the trunk that the paper's training began with, as MMPose mirrors it",
    ),
    PublishedModel(
        "imagenet-w48",
        url=f"{_MMPOSE_FILES}/pretrain_models/hrnet_w48-8ef0771d.pth",
        page=_AUTHORS,
        source="imagenet",
        width=48,
        license="MIT",
        note="the trunk that the paper's training began with, as MMPose mirrors it",
    ),
)
"""All that `higherhrnet models` lists and `higherhrnet download` fetches."""
