"""export: exports a model to ONNX in float or int8."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

from tyro.conf import Positional, arg

from higherhrnet.cli.options import Flag, SettingsOptions
from higherhrnet.config.flags import flag
from higherhrnet.config.inference import InferenceConfig
from higherhrnet.errors import InputError, require
from higherhrnet.messages import counted


def export(
    model: Annotated[Positional[str], arg(metavar="MODEL")],
    out: Annotated[Positional[Path], arg(metavar="OUT")],
    /,
    half: Flag = False,
    int8: Flag = False,
    calibrate: Annotated[Path | None, flag("none; required with --int8", "PATH")] = None,
    calibration_images: int = 128,
    annotations: Annotated[Path | None, flag("AP is not measured", "PATH")] = None,
    images: Annotated[Path | None, flag("searched for next to --annotations", "PATH")] = None,
    decode: Flag = False,
    settings: Annotated[SettingsOptions, arg(name="")] = SettingsOptions(),
) -> int:
    """Export a model to ONNX: the network, for any batch size and input size, or with --decode
    all steps from an image to people.

    Int8 models are fast on CPUs with 8-bit integer instructions (VNNI). With --int8, a report of
    accuracy and speed is written next to OUT with the suffix .json. The exit code is 3 if some
    calibration images were skipped.

    Args:
        model: A .safetensors file, `default` for the bundled model, or the name of a published
            model; with --int8 or --decode also an .onnx file of a network.
        out: The .onnx file to write.
        half: Store the weights in half precision, which halves the size of the file; the network
            still computes in float32. Excludes --int8.
        int8: Quantize the network to 8-bit integers, except for the heads. Needs --calibrate.
        calibrate: A folder of images similar to those that the model will process, on which the
            value ranges of the network's layers are measured for --int8.
        calibration_images: Number of images of --calibrate to use, spread evenly over the folder.
        annotations: A COCO keypoints file with which AP is measured before and after --int8. Layers
            are kept in float, the most sensitive first, until AP (0 to 1) is lower by less than
            0.01 in every engine.
        images: The folder or .zip file of the images of --annotations.
        decode: Include all steps before and after the network, so that programs in any language
            need only an ONNX runtime: the input is an image, (H, W, 3) or (1, H, W, 3) uint8 RGB
            of any size, and the outputs are `keypoints` (P, K, 3), x and y in pixels and score,
            and `scores` (P,) of the people.
        settings: The inference settings that replace those of the model, only with --decode.
    """
    from higherhrnet.zoo.resolve import resolve_model, torch_weights

    require(
        decode or settings == SettingsOptions(),
        "--size, --flip, --no-flip, --scales, --fast and --min-score need --decode",
    )
    settings.apply(InferenceConfig())  # reports invalid flags before the model is read
    require(not (half and int8), "--half and --int8 exclude each other; use only one of them")
    if int8 != bool(calibrate) or (annotations and not int8) or (images and not annotations):
        raise InputError(
            "--int8 needs --calibrate FOLDER; --annotations needs --int8, and --images needs "
            "--annotations"
        )
    require(out.suffix == ".onnx", f"{out}: must end in .onnx")
    path = resolve_model(model)
    require(
        not (out.exists() and out.samefile(path)),
        f"{out}: the output would overwrite the model; choose another file name",
    )
    require(
        path.suffix != ".onnx" or int8 or (decode and not half) or torch_weights(path) != path,
        f"{model}: is an ONNX file already; name a .safetensors file, or use --int8, or --decode "
        "without --half",
    )
    with TemporaryDirectory() as temporary:
        network = Path(temporary, "network.onnx") if decode else out
        code = 0
        if calibrate:
            code = _export_int8(
                path, network, out, calibrate, calibration_images, annotations, images
            )
        elif decode and path.suffix == ".onnx" and not half:
            network = path
        else:
            _export_float(path, network, half)
        if decode:
            _add_decoding(network, out, settings)
    if not calibrate or decode:
        print(f"{out}: {out.stat().st_size / 1e6:.1f} MB")
    return code


def _add_decoding(network: Path, out: Path, settings: SettingsOptions) -> None:
    from higherhrnet.graph.export import export_people, read_network

    model, header = read_network(network)
    header = replace(header, inference=settings.apply(header.inference))
    export_people(out, model, header)
    if header.model.head == "tags":
        print(
            "Run this file with ONNX Runtime: OpenVINO computes float64 in float32 on CPUs and may "
            "select other assignments of keypoints to people with the same cost"
        )


def _export_float(path: Path, out: Path, half: bool = False) -> None:
    from higherhrnet.graph.export import export_onnx
    from higherhrnet.io.weights import read_weights
    from higherhrnet.zoo.resolve import torch_weights

    export_onnx(out, *read_weights(torch_weights(path)), half)


def _export_int8(
    path: Path,
    network: Path,
    out: Path,
    folder: Path,
    count: int,
    annotations: Path | None,
    images: Path | None,
) -> int:
    from higherhrnet.io.datasets.coco import load_annotations
    from higherhrnet.io.datasets.image_folder import find_images
    from higherhrnet.quantization.calibration import select_calibration_images
    from higherhrnet.quantization.quantize import AccuracyCheck, quantize

    sources, check = select_calibration_images(folder, count), None
    if annotations:
        truth = load_annotations(annotations)
        truth.require_people()
        check = AccuracyCheck(
            truth, images or find_images(annotations, truth.file_names, "--images")
        )
    with TemporaryDirectory() as temporary:
        float_model = path
        if path.suffix != ".onnx":
            float_model = Path(temporary, "float.onnx")
            _export_float(path, float_model)
        report = quantize(float_model, network, sources, check)
    report.write(out.with_suffix(".json"))
    print(f"{out}, calibrated on {counted(report.calibration_images, 'image')}\n{report}")
    return 3 if report.calibration_images < len(sources) else 0
