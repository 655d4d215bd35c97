"""predict: finds the people in images and videos."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from higherhrnet.cli.options import Flag, InferenceOptions
from higherhrnet.config.flags import flag, required
from higherhrnet.engines.base import MAX_STREAMS
from higherhrnet.errors import require
from higherhrnet.io.interchange.format_names import FormatName
from higherhrnet.tracking.tracker import TrackConfig
from higherhrnet.zoo.resolve import DEFAULT_MODEL

_SUGGESTED_MODEL = "w32-512"
"""The published model that is suggested after a run with the bundled model."""


def predict(
    sources: Annotated[Positional[tuple[str, ...]], required("SOURCE ...")],
    /,
    options: Annotated[InferenceOptions, arg(name="")] = InferenceOptions(),
    out: Annotated[Path, arg(aliases=["-o"])] = Path("poses"),
    draw: bool = True,
    save_maps: Flag = False,
    every: Annotated[int, arg(metavar="N")] = 1,
    format: Literal["json", "jsonl"] = "json",
    csv: Flag = False,
    save: Annotated[tuple[FormatName, ...], flag("none")] = (),
    resume: Flag = False,
    track: Flag = False,
    tracking: TrackConfig = TrackConfig(),
    verbose: Annotated[Flag, arg(aliases=["-v"])] = False,
) -> int:
    """Find the people in images, folders, videos, cameras and on network addresses.

    Writes the predictions into a folder, and each image and video with the poses drawn on it.
    `predict-ray` does this for large numbers of images on a cluster. The exit code is 3 if some
    files were skipped.

    Args:
        sources: Files, folders, glob patterns, camera numbers, and addresses that begin with
            http://, https:// or rtsp://; - reads a list of files and addresses from standard input.
            What a file contains is recognized by its content, not by its extension.
        options: The model and the inference settings.
        out: The folder to write to. Predictions of an earlier run in it are replaced, unless
            --resume is given.
        draw: Write each image and video with the poses drawn on it. Keypoints whose score is below
            0.2 are not drawn.
        save_maps: Write an image of the heatmaps, tags and offsets of each image file; not for
            videos.
        every: Process only every N-th frame of a video or camera, beginning with the first.
        format: jsonl writes only predictions.jsonl, with one line per image or frame as soon as it
            is done. json also writes predictions.json, a list of COCO results, at the end.
        csv: Write predictions.csv at the end, with one row per person.
        save: Also write the predictions in these formats of other programs at the end, each into a
            folder of that name: coco (a COCO dataset with images, annotations and skeleton, for
            CVAT and FiftyOne), deeplabcut (CSV tables of tracked videos; deeplabcut-h5 also
            writes HDF5 tables), label-studio (pre-annotations), openpose (JSON files with the 25
            keypoints of BODY_25) and openpose-coco (with OpenPose's 18 keypoints of COCO).
        resume: Continue an earlier run with the same settings into the same folder; files that it
            finished are skipped. A file is identified by its absolute path.
        track: Track people through videos: each person keeps a track ID, and keypoints are
            smoothed over time. Implies --csv.
        tracking: Settings of --track.
        verbose: Print the engine and the inference settings that are used.
    """
    from higherhrnet.inference.run import PredictSettings, run_predict
    from higherhrnet.io.listing import list_sources

    require(every >= 1, f"--every must be at least 1, not {every}")
    require(
        track or tracking == TrackConfig(), "--tracking.* has no effect without --track; add it"
    )
    require(
        track or not any(name.startswith("deeplabcut") for name in save),
        "--save deeplabcut needs the track IDs of people; add --track",
    )
    require(
        len(sources) > 0, "name at least one image, folder, glob pattern, video, camera or address"
    )
    settings = PredictSettings(
        out,
        draw=draw,
        save_maps=save_maps,
        resume=resume,
        every=every,
        write_results=format == "json",
        write_csv=csv or track,
        track=tracking if track else None,
        save=save,
    )
    listed = list_sources(sources, sys.stdin)
    several = len(listed) > 1 or any(source.is_video for source in listed)
    predictor = options.load(MAX_STREAMS if several else 1)
    if verbose:
        print(
            f"{options.model}: {predictor.engine.description}; {predictor.config}", file=sys.stderr
        )
    summary = run_predict(predictor, listed, settings)
    print(f"{summary}; output in {out}")
    if options.model == DEFAULT_MODEL and sys.stderr.isatty():
        _suggest_model()
    return summary.exit_code


def _suggest_model() -> None:
    """Prints which published model is more accurate than the bundled one."""
    from higherhrnet.zoo.published import published_model

    best = published_model(_SUGGESTED_MODEL)
    print(
        f"A more accurate model: --model {best.name} (AP {best.ap} on {best.evaluated_on}; "
        f"downloads {(best.size or 0) / 1e6:.0f} MB once)",
        file=sys.stderr,
    )
