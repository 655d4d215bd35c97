"""predict, evaluate and bench: pictures → people, how good they are and how soon they are there."""

from __future__ import annotations

import json as jsonlib
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import Positional, arg

from higherhrnet.cli.look import Flag, InferenceOptions
from higherhrnet.cli.machines import Machines
from higherhrnet.engines.base import MAX_STREAMS, Precision
from higherhrnet.errors import InputError, require
from higherhrnet.io.atomic import atomic_path
from higherhrnet.tracking.tracker import TrackConfig


def predict(
    sources: Positional[tuple[str, ...]],
    /,
    look: Annotated[InferenceOptions, arg(name="")] = InferenceOptions(),
    machines: Annotated[Machines, arg(name="")] = Machines(),
    out: Annotated[str, arg(aliases=["-o"], metavar="PATH")] = "poses",
    draw: bool = True,
    save_maps: Flag = False,
    every: int = 1,
    format: Literal["json", "jsonl"] = "json",
    csv: Flag = False,
    resume: Flag = False,
    track: Flag = False,
    tracking: TrackConfig = TrackConfig(),
    verbose: Annotated[Flag, arg(aliases=["-v"])] = False,
) -> int:
    """Find the people in photographs, folders, videos.

    Writes predictions into a folder, and each picture and video with its people drawn.

    Args:
        sources: Files, folders, patterns, camera numbers; - for a list on standard input.
        look: How to look.
        machines: Where to.
        out: The folder to write to; what it holds of an earlier run is replaced, but not with
            --ray.
        draw: Write pictures and videos with the people drawn.
        show_maps: Write a picture of the heatmaps and tags of each photograph.
        every: Of a video, look at each so many-th frame only.
        format: jsonl is predictions.jsonl, a line an image as soon as it is done; json adds
            predictions.json, COCO results, at the end.
        csv: Write predictions.csv at the end, too: a row a person, for spreadsheets.
        resume: Go on where an earlier run into the same folder stopped.
        track: Follow people through videos: numbers that stay, keypoints that do not jitter; with
            --csv's table.
        tracking: How.
        verbose: Say what was chosen.
    """
    from higherhrnet.inference.run import Settings
    from higherhrnet.inference.run import predict as run
    from higherhrnet.io.sources import list_sources

    require(every >= 1, f"--every must be at least 1, not {every}")
    require(track or tracking == TrackConfig(), "--tracking.… says how to --track: add that")
    settings = Settings(
        Path(out),
        draw,
        save_maps,
        resume,
        every,
        results=format == "json",
        table=csv or track,
        track=tracking if track else None,
    )
    if machines.ray is not None:
        plain = settings == Settings(settings.out, draw, resume=resume) and not verbose
        require(
            plain,
            "leave out --show-maps, --every, --format, --csv, --track and --verbose, "
            "which --ray has not",
        )
        summary = machines.predict(sources, look, out, resume)
    else:
        require(machines == Machines(), "--actors, --gpus and --per-file go with --ray")
        require(len(sources) > 0, "name a photograph, folder, pattern, video or camera to look at")
        listed = list_sources(sources, sys.stdin)
        is_video = any(source.is_video for source in listed)
        predictor = look.predictor(MAX_STREAMS if is_video else min(MAX_STREAMS, len(listed)))
        if verbose:
            chosen = f"{predictor.engine.description}; {predictor.config}"
            print(f"{look.model}: {chosen}", file=sys.stderr)
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
    look: Annotated[InferenceOptions, arg(name="")] = InferenceOptions(),
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
    from higherhrnet.evaluation.crowd_index import crowd_index_note
    from higherhrnet.evaluation.metrics import evaluate as run
    from higherhrnet.evaluation.metrics import format_metrics
    from higherhrnet.evaluation.predict_dataset import predict_dataset
    from higherhrnet.evaluation.report import write_report
    from higherhrnet.io.coco import load_annotations, load_predictions
    from higherhrnet.io.image_store import find_images

    if predictions and look != InferenceOptions():
        raise InputError("--predictions are judged as they are: leave out --model and how to look")
    if resume and (predictions or not report):
        raise InputError("--resume goes on with the predictions of a --model in its --report")
    truth = load_annotations(annotations)
    failed: list[str] = []
    if predictions:
        results = load_predictions(predictions)
    else:
        images = images or find_images(annotations)
        results, failed = predict_dataset(look.predictor(), truth, images, report, resume)
    figures = run(truth, results)
    print(format_metrics(figures, len(truth.images), truth.num_people))
    if "AP_hard" in figures and (computed := crowd_index_note(truth.images)):
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


def bench(
    model: Annotated[str | None, arg(aliases=["-m"], metavar="FILE|NAME")] = None,
    images: tuple[str, ...] = (),
    sizes: tuple[int, ...] = (),
    engines: tuple[Literal["torch", "onnxruntime", "openvino"], ...] = (
        "torch",
        "onnxruntime",
        "openvino",
    ),
    precisions: tuple[Precision, ...] = ("f32", "bf16"),
    people: tuple[int, ...] = (1, 5, 15, 30),
    runs: int = 5,
    no_flip: Flag = False,
    threads: Annotated[int | None, arg(metavar="INT")] = None,
    streams: int = MAX_STREAMS,
    json: Path | None = None,
) -> int:
    """Measure speed and memory of each engine, against the original's way.

    All ways decode with the original's published settings, at one scale.

    Args:
        model: A .onnx or .safetensors file, or the name of a downloaded model; a w32 with random
            weights if not said.
        images: Photographs, folders or patterns: the first is looked at alone, all are streamed;
            a drawn scene if not said.
        sizes: Pixels of the shorter side as the network sees it; the model's own if not said.
        engines: Those to measure; what is not installed is left out.
        precisions: Of the network's arithmetic; what an engine cannot do is left out.
        people: How many to draw into maps that are then decoded.
        runs: Counted ones, after one that is not.
        no_flip: Do not look at the mirrored photograph.
        threads: Of the network, on the CPU; all cores if not said.
        streams: Photographs in the network at the same time, on the CPU, where they are streamed;
            no more than threads.
        json: Write all figures to this file, too.
    """
    from higherhrnet.bench.measure import Plan, measure
    from higherhrnet.bench.subjects import machine
    from higherhrnet.bench.tables import format_figures

    plan = Plan(
        model, images, sizes, engines, precisions, people, runs, not no_flip, threads, streams
    )
    on = machine()
    print(f"{model or 'w32, random weights'}; {on['processor']}, {on['cores']} cores", flush=True)
    measured = []
    for figures in measure(plan):
        print(f"\n{format_figures(figures, runs)}", flush=True)
        measured.append(asdict(figures))
    if json:
        facts = {"machine": on, "plan": asdict(plan), "sizes": measured}
        _write(json, facts)
    return 0


def _write(path: Path, facts: Mapping[str, Any]) -> None:
    with atomic_path(path) as beside:
        text = jsonlib.dumps(facts, indent=2, allow_nan=False)
        beside.write_text(text + "\n", encoding="utf-8")
