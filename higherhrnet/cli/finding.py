"""predict and evaluate: pictures → people, and how good they are."""

from __future__ import annotations

import json as jsonlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from higherhrnet.cli.look import Flag, Look
from higherhrnet.errors import InputError
from higherhrnet.files import replacing


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
        images: The folder or .zip of its photographs; found beside the file if not said.
        predictions: Instead of a model and photographs: COCO results, as predict writes them.
        look: How to look.
        json: Write the figures to this file, too.
        report: A folder for a page with curves, kinds of mistakes and the worst photographs;
            predictions are written there as they come.
        resume: Go on where an earlier run into the same --report stopped.
    """
    from higherhrnet.annotations import load_annotations, load_predictions
    from higherhrnet.data.pictures import find_pictures
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
    else:
        images = images or find_pictures(annotations)
        results, failed = predict_annotated(look.predictor(), truth, images, report, resume)
    figures = run(truth, results)
    print(format_figures(figures, len(truth.images), truth.num_people))
    if "AP_hard" in figures and (computed := say_computed(truth.images)):
        print(computed)
    if failed:
        print(f"{len(failed)} photographs could not be read: their people count as missed")
    if json:
        counts = {"images": len(truth.images), "unread": len(failed), "people": truth.num_people}
        _write(json, {**counts, **figures})
    if report:
        title = f"{predictions or look.model} on {annotations}"
        print(write_report(report, truth, results, images, title))
    return 3 if failed else 0


def _write(path: Path, figures: Mapping[str, float]) -> None:
    with replacing(path) as beside:
        text = jsonlib.dumps(figures, indent=2, allow_nan=False)
        beside.write_text(text + "\n", encoding="utf-8")
