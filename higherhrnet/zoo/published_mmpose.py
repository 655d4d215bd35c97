"""The pose models that MMPose has published: HigherHRNets of 0.x, and DEKRs of 0.x and 1.x."""

from __future__ import annotations

import re

from higherhrnet.poses.skeletons import COCO
from higherhrnet.zoo.published_model import PublishedModel

MMPOSE_FILES = "https://download.openmmlab.com/mmpose"
"""The address of all files of MMPose."""
_CONFIGS = "https://github.com/open-mmlab/mmpose/blob/0.x/configs"
_CONFIGS_1 = "https://github.com/open-mmlab/mmpose/blob/main/configs/body_2d_keypoint"
_PAGES = f"{_CONFIGS}/body/2d_kpt_sview_rgb_img/associative_embedding"
_WHOLEBODY_PAGE = (
    f"{_CONFIGS}/wholebody/2d_kpt_sview_rgb_img/associative_embedding/coco-wholebody/"
    "higherhrnet_coco-wholebody.md"
)
_WHOLEBODY_NOTE = "fine-tuned from COCO; the AP is that of all 133 keypoints together"


def _higherhrnet(
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
    """Describes a HigherHRNet, whose file name ends with 8 digits of its SHA-256 digest."""
    return PublishedModel(
        name,
        url=f"{MMPOSE_FILES}/bottom_up/{file}",
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
    pages = {"0.x": f"{_CONFIGS}/body/2d_kpt_sview_rgb_img", "1.x": _CONFIGS_1}
    digest = re.search(r"[-_]([0-9a-f]{8})[-_]\d{8}\.pth", file)
    assert digest is not None
    return PublishedModel(
        name,
        url=f"{MMPOSE_FILES}/{file}",
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


MMPOSE = (
    _higherhrnet(
        "mmpose-w32-512",
        "higher_hrnet32_coco_512x512-8ae85183_20200713.pth",
        f"{_PAGES}/coco/higherhrnet_coco.md",
        width=32,
        ap=67.7,
        ap_multi_scale=70.6,
    ),
    _higherhrnet(
        "mmpose-w32-640",
        "higher_hrnet32_coco_640x640-a22fe938_20200712.pth",
        f"{_PAGES}/coco/higherhrnet_coco.md",
        width=32,
        input_size=640,
        ap=68.6,
        ap_multi_scale=70.6,
    ),
    _higherhrnet(
        "mmpose-w48-512",
        "higher_hrnet48_coco_512x512-60fedcbc_20200712.pth",
        f"{_PAGES}/coco/higherhrnet_coco.md",
        width=48,
        ap=68.6,
        ap_multi_scale=71.6,
    ),
    _higherhrnet(
        "mmpose-udp-w32-512",
        "higher_hrnet32_coco_512x512_udp-8cc64794_20210222.pth",
        f"{_PAGES}/coco/higherhrnet_udp_coco.md",
        width=32,
        ap=67.8,
    ),
    _higherhrnet(
        "mmpose-udp-w48-512",
        "higher_hrnet48_coco_512x512_udp-7cad61ef_20210222.pth",
        f"{_PAGES}/coco/higherhrnet_udp_coco.md",
        width=48,
        ap=69.0,
    ),
    _higherhrnet(
        "mmpose-crowdpose-w32-512",
        "higher_hrnet32_crowdpose_512x512-1aa4a132_20201017.pth",
        f"{_PAGES}/crowdpose/higherhrnet_crowdpose.md",
        width=32,
        skeleton="crowdpose",
        evaluated_on="CrowdPose test",
        ap=65.5,
        ap_multi_scale=66.1,
        note="its scales were 1 and 2; MMPose groups its keypoints in the order of their indices",
    ),
    _higherhrnet(
        "mmpose-aic-w32-512",
        "higher_hrnet32_aic_512x512-9a674c33_20210130.pth",
        f"{_PAGES}/aic/higherhrnet_aic.md",
        width=32,
        skeleton="aic",
        evaluated_on="AI Challenger validation",
        ap=31.5,
        ap_multi_scale=32.3,
    ),
    _higherhrnet(
        "mmpose-wholebody-w32-512",
        "higher_hrnet32_coco_wholebody_512x512_plus-2fa137ab_20210517.pth",
        _WHOLEBODY_PAGE,
        width=32,
        skeleton="coco_wholebody",
        evaluated_on="COCO-WholeBody v1.0 val",
        ap=40.1,
        note=_WHOLEBODY_NOTE,
    ),
    _higherhrnet(
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
)
"""The models, each in its latest version."""
