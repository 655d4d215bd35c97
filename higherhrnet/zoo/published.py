"""The published models: addresses, accuracy, licenses and digests as their publishers state them.

These are all HigherHRNets of the paper's authors and of MMPose 0.x, and MMPose's DEKRs, in their
latest versions. The files of the authors of DEKR and SWAHR have no addresses of their own; see
`manual`. The weights of the paper for CrowdPose have not been published.
"""

from __future__ import annotations

from difflib import get_close_matches

from higherhrnet.errors import InputError
from higherhrnet.zoo.manual import reject_manual_model
from higherhrnet.zoo.published_mmpose import MMPOSE, MMPOSE_FILES
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
    *MMPOSE,
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
        url=f"{MMPOSE_FILES}/pretrain_models/hrnet_w32-36af842e.pth",
        page=_AUTHORS,
        weight_format="imagenet",
        width=32,
        license="MIT",
        note="the initial weights of the paper's training, hosted by MMPose",
    ),
    PublishedModel(
        "imagenet-w48",
        url=f"{MMPOSE_FILES}/pretrain_models/hrnet_w48-8ef0771d.pth",
        page=_AUTHORS,
        weight_format="imagenet",
        width=48,
        license="MIT",
        note="the initial weights of the paper's training, hosted by MMPose",
    ),
)
"""The published models."""
