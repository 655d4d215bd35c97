"""convert: converts weights of other projects to a .safetensors or .onnx file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from higherhrnet.config.flags import flag
from higherhrnet.errors import require


def convert(
    source: Annotated[Positional[Path], arg(metavar="SOURCE")],
    out: Annotated[Positional[Path], arg(metavar="OUT")],
    /,
    skeleton: Annotated[
        str | None, flag("from the number of keypoints and the file's name", "NAME|FILE")
    ] = None,
    input_size: Annotated[
        int | None, flag("from the name of the file or MMPose's configuration, else 512", "INT")
    ] = None,
    rescoring: Annotated[
        Path | None, flag("the network in SOURCE, if it contains one", "FILE")
    ] = None,
) -> int:
    """Convert a .pth file of the authors of HigherHRNet, SWAHR, DEKR or HRNet, or of MMPose.

    An HRNet that was trained on ImageNet becomes a backbone whose heads are not trained.

    Args:
        source: The .pth or .pth.tar file.
        out: The file to write: .safetensors, or .onnx for inference only.
        skeleton: The skeleton of the weights: coco, crowdpose, aic, coco_wholebody or a .toml file
            that describes it.
        rescoring: A .pth file of DEKR's rescoring network, which corrects the scores of people.
        input_size: Length in pixels of the sides of the crops on which the weights were trained.
    """
    from higherhrnet.graph.export import export_onnx
    from higherhrnet.io.skeleton_files import load_skeleton
    from higherhrnet.io.weights import write_weights
    from higherhrnet.zoo.convert import convert_weights

    require(out.suffix in (".safetensors", ".onnx"), f"{out}: must end in .safetensors or .onnx")
    keypoints = load_skeleton(skeleton) if skeleton else None
    weights, header = convert_weights(
        source, input_size=input_size, skeleton=keypoints, rescoring=rescoring
    )
    if out.suffix == ".onnx":
        export_onnx(out, weights, header)
    else:
        write_weights(out, weights, header)
    print(f"{out}: width {header.model.width}, {header.skeleton.name}, {header.input.size} pixels")
    if "heads" in header.training:
        print("This is a backbone; its heads are not trained.")
    if assumed := header.training.get("assumed"):
        values = ", ".join(f"{name} {value}" for name, value in assumed.items())
        print(f"Assumed, because the file does not state it: {values}")
    return 0
