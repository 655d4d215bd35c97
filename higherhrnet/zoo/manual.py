"""Published weights that only a browser can download, because their files have no addresses."""

from __future__ import annotations

from dataclasses import dataclass

from higherhrnet.errors import InputError

_DEKR_FOLDER = (
    "https://mailustceducn-my.sharepoint.com/:f:/g/personal/aa397601_mail_ustc_edu_cn/"
    "EmoNwNpq4L1FgUsC9KbWezABSotd3BGOlcWCdkBi91l50g?e=HWuluh"
)
_SWAHR_FOLDER = "https://drive.google.com/drive/folders/13FFvwK7bDZLD4H_toueopbLhJqFjimlu"


@dataclass(frozen=True)
class ManualModel:
    """The files of a model in a shared folder, and how `higherhrnet convert` reads them."""

    name: str
    """The name under which users may look for the model."""
    folder: str
    """The address of the folder on the web."""
    file: str
    """The name of the file with the weights, with its path in the folder if that is known."""
    input_size: int
    """The shorter side of the input in pixels, which the file does not state."""
    rescoring: str | None = None
    """The name of the file with the rescoring network."""

    @property
    def instructions(self) -> str:
        """What the user has to do, in one line."""
        files = [file for file in (self.file, self.rescoring) if file]
        convert = f"higherhrnet convert {self.file.split('/')[-1]} {self.name}.safetensors"
        convert += f" --input-size {self.input_size}"
        if self.rescoring:
            convert += f" --rescoring {self.rescoring.split('/')[-1]}"
        return f"download {' and '.join(files)} from {self.folder} with a browser, then `{convert}`"


def _dekr(name: str, width: int, dataset: str, rescoring: str) -> ManualModel:
    return ManualModel(
        name,
        _DEKR_FOLDER,
        f"model/pose_{dataset}/pose_dekr_hrnetw{width}_{dataset}.pth",
        512 if width == 32 else 640,
        f"model/rescore/{rescoring}",
    )


MANUAL = (
    _dekr("dekr-w32-512", 32, "coco", "final_rescore_coco_kpt.pth"),
    _dekr("dekr-w48-640", 48, "coco", "final_rescore_coco_kpt.pth"),
    _dekr("dekr-crowdpose-w32-512", 32, "crowdpose", "final_rescore_crowd_pose_kpt.pth"),
    _dekr("dekr-crowdpose-w48-640", 48, "crowdpose", "final_rescore_crowd_pose_kpt.pth"),
    ManualModel("swahr-w32-512", _SWAHR_FOLDER, "pose_higher_hrnet_w32_512.pth", 512),
)
"""The weights of the authors of DEKR, and the file of those of SWAHR whose name is published."""


def reject_manual_model(name: str) -> None:
    """Raises InputError with instructions if the name is that of a model of `MANUAL`."""
    for model in MANUAL:
        if model.name == name:
            raise InputError(
                f"{name}: its authors publish it only in a folder that programs cannot read; "
                f"{model.instructions}"
            )
