"""The published models: addresses, accuracy, licenses and digests as their publishers state them.

These are all HigherHRNets of the paper's authors and of MMPose 0.x, and MMPose's DEKRs, in their
latest versions. The files of the authors of DEKR and SWAHR have no addresses of their own; see
`manual`. The weights of the paper for CrowdPose have not been published.
"""

from __future__ import annotations

import re
from difflib import get_close_matches

from higherhrnet.errors import InputError
from higherhrnet.poses.skeletons import COCO
from higherhrnet.zoo.manual import reject_manual_model
from higherhrnet.zoo.published_model import PublishedModel


def published_model(name: str) -> PublishedModel:
    """Returns the published model of a name.

    Raises:
        InputError: there is no such model, or it has to be downloaded with a browser.
    """
    reject_manual_model(name)
    models = {model.name: model for model in PUBLISHED}
    if name not in models:
        hint = "`higherhrnet models` lists the published models"
        if similar := get_close_matches(name.lower(), models):
            hint = f"did you mean {' or '.join(similar)}? {hint}"
        raise InputError(f"{name}: no such model file or published model; {hint}")
    return models[name]


def _google_drive(file_id: str) -> str:
    return f"https://drive.usercontent.google.com/download?id={file_id}&export=download&confirm=t"


_AUTHORS = "https://github.com/HRNet/HigherHRNet-Human-Pose-Estimation"
_AUTHORS_FOLDER = "https://drive.google.com/drive/folders/1X9-TzWpwbX2zQf2To8lB-ZQHMYviYYh6"
_MMPOSE_FILES = "https://download.openmmlab.com/mmpose"
_MMPOSE_CONFIGS = "https://github.com/open-mmlab/mmpose/blob/0.x/configs"
_MMPOSE_1_CONFIGS = "https://github.com/open-mmlab/mmpose/blob/main/configs/body_2d_keypoint"
_MMPOSE_PAGES = f"{_MMPOSE_CONFIGS}/body/2d_kpt_sview_rgb_img/associative_embedding"
_WHOLEBODY_PAGE = (
    f"{_MMPOSE_CONFIGS}/wholebody/2d_kpt_sview_rgb_img/associative_embedding/coco-wholebody/"
    "higherhrnet_coco-wholebody.md"
)
_WHOLEBODY_NOTE = "fine-tuned from COCO; the AP is that of all 133 keypoints together"


def _mmpose(
    name: str,
    file: str,
    page: str,
    *,
    width: int,
    input_size: int = 512,
    skeleton: str = COCO.name,
    evaluated_on: str = "COCO val2017",
    ap: float,
    ap_multi_scale: float | None = None,
    note: str = "",
) -> PublishedModel:
    """Describes a pose model of MMPose, whose file name contains 8 digits of its SHA-256 digest."""
    return PublishedModel(
        name,
        url=f"{_MMPOSE_FILES}/bottom_up/{file}",
        page=page,
        weight_format="mmpose",
        width=width,
        license="Apache-2.0",
        input_size=input_size,
        skeleton=skeleton,
        evaluated_on=evaluated_on,
        ap=ap,
        ap_multi_scale=ap_multi_scale,
        digest=f"sha256:{file.rsplit('-', 1)[1][:8]}",
        note=note,
    )


def _dekr(
    name: str,
    file: str,
    *,
    width: int,
    crowdpose: bool = False,
    ap: float,
    ap_multi_scale: float | None = None,
) -> PublishedModel:
    """Describes a DEKR of MMPose 0.x, or of 1.x, which does not support several scales."""
    version, skeleton = ("0.x", "1.x")[ap_multi_scale is None], "coco"
    if crowdpose:
        skeleton = "crowdpose"
    pages = {"0.x": f"{_MMPOSE_CONFIGS}/body/2d_kpt_sview_rgb_img", "1.x": _MMPOSE_1_CONFIGS}
    digest = re.search(r"[-_]([0-9a-f]{8})[-_]\d{8}\.pth", file)
    assert digest is not None
    return PublishedModel(
        name,
        url=f"{_MMPOSE_FILES}/{file}",
        page=f"{pages[version]}/dekr/{skeleton}/hrnet_{skeleton}.md",
        weight_format="mmpose",
        width=width,
        license="Apache-2.0",
        input_size=512 if width == 32 else 640,
        skeleton=skeleton,
        evaluated_on="CrowdPose test" if crowdpose else "COCO val2017",
        ap=ap,
        ap_multi_scale=ap_multi_scale,
        digest=f"sha256:{digest[1]}",
        note=f"DEKR of MMPose {version}; the AP is with its rescoring network",
        head="offsets",
    )


PUBLISHED = (
    PublishedModel(
        "w32-512",
        url="https://storage.openvinotoolkit.org/repositories/open_model_zoo/public/2022.1/"
        "higher-hrnet-w32-human-pose-estimation/ckpt/pose_higher_hrnet_w32_512.pth",
        page=_AUTHORS,
        weight_format="authors",
        width=32,
        license="MIT",
        input_size=512,
        skeleton="coco",
        evaluated_on="COCO val2017",
        ap=67.1,
        ap_multi_scale=69.9,
        size=115_172_215,
        digest="sha384:d344fcc4e426308139397bd708be1c59500e038a540ea0979b6a10556b5f3530"
        "701d86c0cab276fc5710419f91879e3d",
        note="the authors' file, hosted by Intel's Open Model Zoo",
    ),
    PublishedModel(
        "w32-640",
        url=_google_drive("1uEcQlm1rjV-JRgVbaP79Y5sMLqUX2ciD"),
        page=_AUTHORS_FOLDER,
        weight_format="authors",
        width=32,
        license="MIT",
        input_size=640,
        skeleton="coco",
        evaluated_on="COCO val2017",
        ap=68.5,
        ap_multi_scale=70.6,
        note="the published AP was measured in half precision",
    ),
    PublishedModel(
        "w48-640",
        url=_google_drive("10j9Wx_I2H6qaw-prAdlJ44fLryDtA-ah"),
        page=_AUTHORS_FOLDER,
        weight_format="authors",
        width=48,
        license="MIT",
        input_size=640,
        skeleton="coco",
        evaluated_on="COCO val2017",
        ap=69.9,
        ap_multi_scale=72.1,
        note="the published AP was measured in half precision",
    ),
    _mmpose(
        "mmpose-w32-512",
        "higher_hrnet32_coco_512x512-8ae85183_20200713.pth",
        f"{_MMPOSE_PAGES}/coco/higherhrnet_coco.md",
        width=32,
        ap=67.7,
        ap_multi_scale=70.6,
    ),
    _mmpose(
        "mmpose-w32-640",
        "higher_hrnet32_coco_640x640-a22fe938_20200712.pth",
        f"{_MMPOSE_PAGES}/coco/higherhrnet_coco.md",
        width=32,
        input_size=640,
        ap=68.6,
        ap_multi_scale=70.6,
    ),
    _mmpose(
        "mmpose-w48-512",
        "higher_hrnet48_coco_512x512-60fedcbc_20200712.pth",
        f"{_MMPOSE_PAGES}/coco/higherhrnet_coco.md",
        width=48,
        ap=68.6,
        ap_multi_scale=71.6,
    ),
    _mmpose(
        "mmpose-udp-w32-512",
        "higher_hrnet32_coco_512x512_udp-8cc64794_20210222.pth",
        f"{_MMPOSE_PAGES}/coco/higherhrnet_udp_coco.md",
        width=32,
        ap=67.8,
    ),
    _mmpose(
        "mmpose-udp-w48-512",
        "higher_hrnet48_coco_512x512_udp-7cad61ef_20210222.pth",
        f"{_MMPOSE_PAGES}/coco/higherhrnet_udp_coco.md",
        width=48,
        ap=69.0,
    ),
    _mmpose(
        "mmpose-crowdpose-w32-512",
        "higher_hrnet32_crowdpose_512x512-1aa4a132_20201017.pth",
        f"{_MMPOSE_PAGES}/crowdpose/higherhrnet_crowdpose.md",
        width=32,
        skeleton="crowdpose",
        evaluated_on="CrowdPose test",
        ap=65.5,
        ap_multi_scale=66.1,
        note="its scales were 1 and 2; MMPose groups its keypoints in the order of their indices",
    ),
    _mmpose(
        "mmpose-aic-w32-512",
        "higher_hrnet32_aic_512x512-9a674c33_20210130.pth",
        f"{_MMPOSE_PAGES}/aic/higherhrnet_aic.md",
        width=32,
        skeleton="aic",
        evaluated_on="AI Challenger validation",
        ap=31.5,
        ap_multi_scale=32.3,
    ),
    _mmpose(
        "mmpose-wholebody-w32-512",
        "higher_hrnet32_coco_wholebody_512x512_plus-2fa137ab_20210517.pth",
        _WHOLEBODY_PAGE,
        width=32,
        skeleton="coco_wholebody",
        evaluated_on="COCO-WholeBody v1.0 val",
        ap=40.1,
        note=_WHOLEBODY_NOTE,
    ),
    _mmpose(
        "mmpose-wholebody-w48-512",
        "higher_hrnet48_coco_wholebody_512x512_plus-934f08aa_20210517.pth",
        _WHOLEBODY_PAGE,
        width=48,
        skeleton="coco_wholebody",
        evaluated_on="COCO-WholeBody v1.0 val",
        ap=48.7,
        note=_WHOLEBODY_NOTE,
    ),
    _dekr(
        "mmpose-dekr-w32-512",
        "bottom_up/dekr/hrnet_w32_coco_512x512-2a3056de_20220928.pth",
        width=32,
        ap=68.0,
        ap_multi_scale=70.5,
    ),
    _dekr(
        "mmpose-dekr-w48-640",
        "bottom_up/dekr/hrnet_w48_coco_640x640-8854b2f1_20220930.pth",
        width=48,
        ap=70.9,
        ap_multi_scale=72.2,
    ),
    _dekr(
        "mmpose-dekr-crowdpose-w32-512",
        "bottom_up/dekr/hrnet_w32_crowdpose_512x512-685aff75_20220924.pth",
        width=32,
        crowdpose=True,
        ap=66.3,
        ap_multi_scale=69.2,
    ),
    _dekr(
        "mmpose-dekr-crowdpose-w48-640",
        "bottom_up/dekr/hrnet_w48_crowdpose_640x640-ef6b6040_20220930.pth",
        width=48,
        crowdpose=True,
        ap=68.2,
        ap_multi_scale=69.6,
    ),
    _dekr(
        "mmpose1-dekr-w32-512",
        "v1/body_2d_keypoint/dekr/coco/dekr_hrnet-w32_8xb10-140e_coco-512x512_ac7c17bf-20221228.pth",
        width=32,
        ap=68.6,
    ),
    _dekr(
        "mmpose1-dekr-w48-640",
        "v1/body_2d_keypoint/dekr/coco/dekr_hrnet-w48_8xb10-140e_coco-640x640_74796c32-20230124.pth",
        width=48,
        ap=71.4,
    ),
    _dekr(
        "mmpose1-dekr-crowdpose-w32-512",
        "v1/body_2d_keypoint/dekr/crowdpose/dekr_hrnet-w32_8xb10-300e_crowdpose-512x512_147bae97-"
        "20221228.pth",
        width=32,
        crowdpose=True,
        ap=66.3,
    ),
    _dekr(
        "mmpose1-dekr-crowdpose-w48-640",
        "v1/body_2d_keypoint/dekr/crowdpose/dekr_hrnet-w48_8xb5-300e_crowdpose-640x640_4ea6031e-"
        "20230128.pth",
        width=48,
        crowdpose=True,
        ap=67.9,
    ),
    PublishedModel(
        "imagenet-w18",
        url="https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-hrnet/"
        "hrnetv2_w18-8cb57bb9.pth",
        page="https://github.com/HRNet/HRNet-Image-Classification",
        weight_format="imagenet",
        width=18,
        license="MIT",
        note="the classifier of HRNet's authors, hosted by timm",
    ),
    PublishedModel(
        "imagenet-w32",
        url=f"{_MMPOSE_FILES}/pretrain_models/hrnet_w32-36af842e.pth",
        page=_AUTHORS,
        weight_format="imagenet",
        width=32,
        license="MIT",
        note="the initial weights of the paper's training, hosted by MMPose",
    ),
    PublishedModel(
        "imagenet-w48",
        url=f"{_MMPOSE_FILES}/pretrain_models/hrnet_w48-8ef0771d.pth",
        page=_AUTHORS,
        weight_format="imagenet",
        width=48,
        license="MIT",
        note="the initial weights of the paper's training, hosted by MMPose",
    ),
)
"""The published models."""
