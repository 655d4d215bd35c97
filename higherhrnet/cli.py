"""The verbs of the command line, one thin function each.

Exit codes: 0 all was done; 1 nothing could be done, for the reason given; 2 flags not understood;
3 done, but some files were skipped; 130 interrupted, with whole output of what was done.
"""

from __future__ import annotations

import json as jsonlib
import signal
import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal

import tyro
from tyro.conf import Positional, arg

from higherhrnet.config import InputConfig
from higherhrnet.errors import InputError
from higherhrnet.files import replacing
from higherhrnet.look import Flag, Look
from higherhrnet.recipes import RECIPES, AugmentConfig, TrainConfig


def predict(
    sources: Positional[tuple[str, ...]],
    /,
    look: Annotated[Look, arg(name="")] = Look(),
    out: Annotated[Path, arg(aliases=["-o"])] = Path("poses"),
    draw: bool = True,
    show_maps: Flag = False,
    every: int = 1,
    format: Literal["json", "jsonl"] = "json",
    resume: Flag = False,
    verbose: Annotated[Flag, arg(aliases=["-v"])] = False,
) -> int:
    """Find the people in photographs, folders, videos.

    Writes predictions into a folder, and each picture with its people drawn.

    Args:
        sources: Files, folders, patterns, camera numbers; - for a list on standard input.
        look: How to look.
        out: The folder to write to; what it holds of an earlier run is replaced.
        draw: Write pictures and videos with the people drawn.
        show_maps: Write a picture of the heatmaps and tags of each photograph.
        every: Of a video, look at each so many-th frame only.
        format: jsonl is predictions.jsonl, a line an image as soon as it is done; json adds
            predictions.json, COCO results, at the end.
        resume: Go on where an earlier run into the same folder stopped.
        verbose: Say what was chosen.
    """
    from higherhrnet.inference.sources import list_sources
    from higherhrnet.predict import Settings
    from higherhrnet.predict import predict as run

    if not sources:
        raise InputError("name a photograph, folder, pattern, video or camera to look at")
    if every < 1:
        raise InputError(f"--every must be at least 1, not {every}")
    listed = list_sources(sources, sys.stdin)
    predictor = look.predictor()
    if verbose:
        print(f"{look.model}: {predictor.engine.description}; {predictor.test}", file=sys.stderr)
    settings = Settings(out, draw, show_maps, resume, every, results=format == "json")
    summary = run(predictor, listed, settings)
    print(f"{summary} in {out}")
    if summary.interrupted:
        return 130
    if not summary.failed:
        return 0
    return 3 if summary.images or summary.skipped else 1


def evaluate(
    annotations: Path,
    images: Path | None = None,
    predictions: Path | None = None,
    look: Annotated[Look, arg(name="")] = Look(),
    json: Path | None = None,
    report: Path | None = None,
    resume: Flag = False,
) -> int:
    """Measure a model, or a file of predictions, against annotated photographs.

    Prints COCO's ten figures; of CrowdPose's keypoints its own nine.

    Args:
        annotations: A COCO keypoints file.
        images: The folder or .zip of its photographs.
        predictions: Instead of a model and photographs: COCO results, as predict writes them.
        look: How to look.
        json: Write the figures to this file, too.
        report: A folder for a page with curves, kinds of mistakes and the worst photographs;
            predictions are written there as they come.
        resume: Go on where an earlier run into the same --report stopped.
    """
    from higherhrnet.annotations import load_annotations, load_predictions
    from higherhrnet.evaluation.crowding import say_computed
    from higherhrnet.evaluation.figures import evaluate as run
    from higherhrnet.evaluation.figures import format_figures
    from higherhrnet.evaluation.predictions import predict_annotated
    from higherhrnet.evaluation.report import write_report

    if predictions and look != Look():
        raise InputError("--predictions are judged as they are: leave out --model and how to look")
    if resume and (predictions or not report):
        raise InputError("--resume goes on with the predictions of a --model in its --report")
    truth = load_annotations(annotations)
    failed: list[str] = []
    if predictions:
        results = load_predictions(predictions)
    elif look.model and images:
        results, failed = predict_annotated(look.predictor(), truth, images, report, resume)
    else:
        raise InputError("evaluate needs --model and --images, or --predictions")
    figures = run(truth, results)
    print(format_figures(figures, len(truth.images), truth.num_people))
    if "AP_hard" in figures and (computed := say_computed(truth.images)):
        print(computed)
    if failed:
        print(f"{len(failed)} photographs could not be read: their people count as missed")
    if json:
        counts = {"images": len(truth.images), "unread": len(failed), "people": truth.num_people}
        with replacing(json) as beside:
            text = jsonlib.dumps({**counts, **figures}, indent=2, allow_nan=False)
            beside.write_text(text + "\n", encoding="utf-8")
    if report:
        title = f"{look.model or predictions} on {annotations}"
        print(write_report(report, truth, results, images, title))
    return 3 if failed else 0


def train(
    recipe: Positional[str],
    /,
    config: Annotated[TrainConfig, arg(name="")] = TrainConfig(),
) -> int:
    """Train a network on annotated photographs, or go on with a training.

    On several GPUs or machines: torchrun --nproc-per-node 4 -m higherhrnet train RECIPE …

    Args:
        recipe: What the flags' defaults are: coco or crowdpose, then w32-512, w32-640 or w48-640,
            then -swahr if wanted. Say `train RECIPE --help` to see them.
        config: What to change.
    """
    if recipe not in RECIPES:
        raise InputError(f"no recipe {recipe}; there are {', '.join(RECIPES)}")
    _needs_torch()
    from higherhrnet.training.train import train as run

    return 0 if run(config) else 130


def check_data(
    sources: Positional[tuple[str, ...]],
    /,
    out: Annotated[Path | None, arg(aliases=["-o"])] = None,
    samples: int = 16,
    size: int = 512,
    augment: AugmentConfig = AugmentConfig(),
) -> int:
    """Say what training would trip over in data sets, and draw what the network would see.

    The exit code is 3 if anything is wrong.

    Args:
        sources: ANNOTATIONS[,PICTURES] each: a COCO keypoints file; the folder or .zip of its
            pictures, found beside it if not said.
        out: A folder for findings.txt, each single case, and samples.jpg, a sheet of random
            samples with their targets.
        samples: How many samples.
        size: Pixels of a sample's side.
        augment: How samples are varied.
    """
    from higherhrnet.data.check import check_sources

    if not sources or samples < 1:
        raise InputError("name annotation files to check, and at least one of --samples")
    sound = check_sources(sources, out)
    if out:
        _needs_torch()
        from higherhrnet.data.sheet import write_sheet

        print(write_sheet(out / "samples.jpg", sources, augment, InputConfig(size), samples))
    return 0 if sound else 3


def info(model: Positional[str], /) -> int:
    """Say what a model is: its shape, parameters, multiply-adds and header.

    Args:
        model: A .onnx or .safetensors file, or the name of a downloaded model.
    """
    from higherhrnet.info import describe

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
    _needs_torch()
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


def export(model: Positional[str], out: Positional[Path], /, half: Flag = False) -> int:
    """Make an ONNX file of a .safetensors model, for any engine and input size.

    Args:
        model: The .safetensors file, or the name of a downloaded model.
        out: The .onnx file to write.
        half: Store the weights in half precision, in half the space.
    """
    _needs_torch()
    from higherhrnet.export import export_onnx
    from higherhrnet.network import checkpoint
    from higherhrnet.zoo.download import local_model

    network, header = checkpoint.load(local_model(model))
    export_onnx(network, header, out, half)
    print(f"{out}: {out.stat().st_size / 1e6:.1f} MB")
    return 0


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


def scenes(
    out: Positional[Path],
    /,
    count: int = 100,
    seed: int = 0,
    size: int = 256,
    skeleton: str = "coco",
) -> int:
    """Draw scenes of people with exact keypoints, as a COCO data set: images and annotations.

    Args:
        out: The folder to write to.
        count: How many.
        seed: The same seed, the same scenes.
        size: Pixels of a side.
        skeleton: coco, crowdpose or a .toml file of keypoints among theirs.
    """
    from higherhrnet.data.scenes import write_scenes
    from higherhrnet.inference.images import MIN_SIDE
    from higherhrnet.skeleton import load_skeleton

    if count < 1 or size < MIN_SIDE:
        raise InputError(f"scenes needs a --count of at least 1 and a --size of {MIN_SIDE}")
    print(write_scenes(out, count, seed, height=size, width=size, skeleton=load_skeleton(skeleton)))
    return 0


def _needs_torch() -> None:
    if find_spec("torch") is None or find_spec("safetensors") is None:
        raise InputError('this needs torch: pip install "higherhrnet[train]"')


VERBS = {
    verb.__name__.replace("_", "-"): verb
    for verb in (
        predict,
        train,
        evaluate,
        check_data,
        info,
        convert,
        export,
        models,
        download,
        scenes,
    )
}


def _verbs(arguments: Sequence[str]) -> dict[str, Callable[..., int]]:
    """The verbs, of which train's flags begin with the values of the recipe that is named."""
    if list(arguments[:1]) != ["train"] or not (named := set(arguments) & set(RECIPES)):
        return VERBS
    return VERBS | {"train": partial(train, config=RECIPES[named.pop()])}


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line and exits with its code."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    for output in (sys.stdout, sys.stderr):
        output.reconfigure(errors="replace")  # type: ignore[union-attr]
    try:
        code = tyro.extras.subcommand_cli_from_dict(
            _verbs(sys.argv[1:] if arguments is None else arguments),
            prog="higherhrnet",
            description="Every person's keypoints in one pass: heatmaps say where, tags say whose.",
            args=arguments,
        )
    except InputError as error:
        print(f"higherhrnet: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()  # whoever read the output has seen enough
        sys.exit(0)
    except OSError as error:
        print(f"higherhrnet: {error}", file=sys.stderr)
        sys.exit(1)
    sys.exit(code)
