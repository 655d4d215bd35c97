"""export: a model → an ONNX file in float or int8."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

from tyro.conf import Positional

from higherhrnet.cli.options import Flag, require_torch
from higherhrnet.errors import InputError, require
from higherhrnet.flags import flag


def export(
    model: Positional[str],
    out: Positional[Path],
    /,
    half: Flag = False,
    int8: Flag = False,
    calibrate: Annotated[Path | None, flag("none", "PATH")] = None,
    calibration_images: int = 128,
    annotations: Annotated[Path | None, flag("AP is not measured", "PATH")] = None,
    images: Annotated[Path | None, flag("found beside --annotations", "PATH")] = None,
) -> int:
    """Export a model to ONNX, for any engine, batch size and input size.

    --int8 also accepts an .onnx model. It is for processors with fast 8-bit integer arithmetic
    (VNNI), and writes a report of accuracy and speed beside the output as .json.

    Args:
        model: The .safetensors or .onnx file, or the name of a downloaded model.
        out: The .onnx file to write.
        half: Store the weights in half precision, which halves the size of the file; the network
            still computes in float32.
        int8: Quantize the network to 8-bit integers. Needs --calibrate.
        calibrate: A folder of images similar to those that the model will process, from which the
            ranges of the network's values are measured.
        calibration_images: Number of these images to use, spread evenly over the folder.
        annotations: A COCO keypoints file on which AP is measured before and after. Layers are
            returned to float, the most sensitive first, until AP drops by less than 0.01.
        images: The folder or .zip file of the images of --annotations.
    """
    from higherhrnet.zoo.models import resolve_model

    require(not (half and int8), "--half and --int8 exclude each other; use only one of them")
    if int8 != bool(calibrate) or (annotations and not int8) or (images and not annotations):
        raise InputError(
            "--int8 needs --calibrate FOLDER; --annotations needs --int8, and --images needs "
            "--annotations"
        )
    path = resolve_model(model)
    if calibrate:
        return _export_int8(path, out, calibrate, calibration_images, annotations, images)
    _export_float(path, out, half)
    print(f"{out}: {out.stat().st_size / 1e6:.1f} MB")
    return 0


def _export_float(path: Path, out: Path, half: bool = False) -> None:
    require_torch()
    from higherhrnet.network import checkpoint
    from higherhrnet.network.export import export_onnx
    from higherhrnet.zoo.models import torch_weights

    network, header = checkpoint.load(torch_weights(path))
    export_onnx(network, header, out, half)


def _export_int8(
    path: Path,
    out: Path,
    folder: Path,
    count: int,
    annotations: Path | None,
    images: Path | None,
) -> int:
    if find_spec("onnx") is None:
        raise InputError('--int8 needs onnx: pip install "higherhrnet[torch]"')
    from higherhrnet.io.coco import load_annotations
    from higherhrnet.io.image_store import find_images
    from higherhrnet.quantization.calibration import choose
    from higherhrnet.quantization.quantize import Judge, quantize

    sources, judge = choose(folder, count), None
    if annotations:
        judge = Judge(load_annotations(annotations), images or find_images(annotations))
    with TemporaryDirectory() as temporary:
        float_model = path
        if path.suffix != ".onnx":
            float_model = Path(temporary, "float.onnx")
            _export_float(path, float_model)
        report = quantize(float_model, out, sources, judge)
    report.write(out.with_suffix(".json"))
    print(f"{out}, calibrated on {report.photographs} images\n{report}")
    return 3 if report.photographs < len(sources) else 0
