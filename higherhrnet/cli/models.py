"""info, convert, export, models and download: what to find people with."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from tyro.conf import Positional

from higherhrnet.cli.look import Flag
from higherhrnet.errors import InputError


def info(model: Positional[str] = "default", /) -> int:
    """Say what a model is: its shape, parameters, multiply-adds and header.

    Args:
        model: A .onnx or .safetensors file, or the name of a downloaded model; the one in the box
            if not said.
    """
    from higherhrnet.inference.model_info import describe

    print(describe(model))
    return 0


def convert(
    source: Positional[Path],
    out: Positional[Path],
    /,
    skeleton: str | None = None,
    input_size: int | None = None,
) -> int:
    """Make a .safetensors file of weights of the paper's authors, of MMPose 0.x, or of a trunk.

    Args:
        source: The .pth or .pth.tar file.
        out: The .safetensors file to write.
        skeleton: coco, crowdpose or a .toml file; told from the number of keypoints if not said.
        input_size: Pixels of the shorter side; told from the file's name if not said.
    """
    needs_torch()
    from higherhrnet.network import checkpoint
    from higherhrnet.network.convert import convert as run
    from higherhrnet.skeleton import load_skeleton

    chosen = load_skeleton(skeleton) if skeleton else None
    model, header = run(source, input_size=input_size, skeleton=chosen)
    checkpoint.save(out, model, header)
    assumed = header.training.get("assumed", {})
    print(f"{out}: width {header.model.width}, {header.skeleton.name}, {header.input.size} pixels")
    if "heads" in header.training:
        print("a trunk, whose heads are yet to be trained")
    if assumed:
        print(
            "not said in the file, so assumed: " + ", ".join(f"{k} {v}" for k, v in assumed.items())
        )
    return 0


def export(
    model: Positional[str],
    out: Positional[Path],
    /,
    half: Flag = False,
    int8: Flag = False,
    calibrate: Path | None = None,
    calibration_images: int = 128,
    annotations: Path | None = None,
    images: Path | None = None,
) -> int:
    """Make an ONNX file of a .safetensors model, for any engine and input size.

    With --int8 also of an .onnx model, for processors that multiply 8-bit integers fast (VNNI);
    with a report of what that costs and saves, printed and beside the output as .json.

    Args:
        model: The .safetensors or .onnx file, or the name of a downloaded model.
        out: The .onnx file to write.
        half: Store the weights in half precision, in half the space.
        int8: Compute in 8-bit integers.
        calibrate: A folder of photographs like those that people will be found in, to learn the
            ranges of the network's values from.
        calibration_images: How many of them to show to the network, spread over the folder.
        annotations: A COCO keypoints file to measure AP on, float and int8; layers are put back to
            float, the most sensitive first, until it falls by less than 0.01.
        images: The folder or .zip of its photographs; found beside the file if not said.
    """
    from higherhrnet.zoo.models import resolve_model

    if half and int8:
        raise InputError("--half and --int8: say one of them")
    if int8 != bool(calibrate) or (annotations and not int8) or (images and not annotations):
        raise InputError("--int8 needs --calibrate FOLDER, and may have --annotations and --images")
    path = resolve_model(model)
    if calibrate:
        return _export_int8(path, out, calibrate, calibration_images, annotations, images)
    _export(path, out, half)
    print(f"{out}: {out.stat().st_size / 1e6:.1f} MB")
    return 0


def _export(path: Path, out: Path, half: bool = False) -> None:
    needs_torch()
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
    pictures: Path | None,
) -> int:
    if find_spec("onnx") is None:
        raise InputError('--int8 needs onnx: pip install "higherhrnet[train]"')
    from higherhrnet.io.coco import load_annotations
    from higherhrnet.io.image_store import find_images
    from higherhrnet.quantization.calibration import choose
    from higherhrnet.quantization.quantize import Judge, quantize

    photographs, judge = choose(folder, count), None
    if annotations:
        truth = load_annotations(annotations)
        judge = Judge(truth, pictures or find_images(annotations))
    with TemporaryDirectory() as temporary:
        plain = path
        if path.suffix != ".onnx":
            plain = Path(temporary, "plain.onnx")
            _export(path, plain)
        report = quantize(plain, out, photographs, judge)
    report.write(out.with_suffix(".json"))
    print(f"{out}, calibrated on {report.photographs} photographs\n{report}")
    return 3 if report.photographs < len(photographs) else 0


def models() -> int:
    """List the published models that can be downloaded."""
    from higherhrnet.zoo.published import PUBLISHED, format_models

    print(format_models(PUBLISHED))
    return 0


def download(name: Positional[str], /) -> int:
    """Fetch a published model into the cache and make it ready for use.

    Args:
        name: As `higherhrnet models` lists it.
    """
    from higherhrnet.zoo.download import download as run
    from higherhrnet.zoo.published import published_model

    published = published_model(name)
    path = run(published)
    print(f"{path}: from {published.page}")
    if published.note:
        print(published.note)
    if published.source == "imagenet":
        print("a trunk without heads: to start a training from")
    elif find_spec("torch"):
        return convert(path, path.with_suffix(".safetensors"), input_size=published.input_size)
    else:
        print(
            f"next, where torch is: higherhrnet convert {path} {path.with_suffix('.safetensors')}"
        )
    return 0


def needs_torch() -> None:
    """Ends a verb that cannot do without torch where there is none."""
    if find_spec("torch") is None or find_spec("safetensors") is None:
        raise InputError('this needs torch: pip install "higherhrnet[train]"')
