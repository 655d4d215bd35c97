"""Implements `higherhrnet predict`: sources → predictions, drawn images and videos in a folder."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

from tqdm import tqdm

from higherhrnet.arrays import Image
from higherhrnet.errors import InputError
from higherhrnet.inference.frames import FailedSource, FrameResult
from higherhrnet.inference.predictor import Predictor
from higherhrnet.inference.stream import predict_stream
from higherhrnet.io.images import write_image
from higherhrnet.io.interchange.format_names import FormatName
from higherhrnet.io.listing import output_names
from higherhrnet.io.predictions import PredictionWriter
from higherhrnet.io.sources import Frame, Source, count_frames
from higherhrnet.io.video.video_writer import VideoWriter, timestamp
from higherhrnet.messages import counted
from higherhrnet.poses.poses import Poses
from higherhrnet.poses.skeleton import Skeleton
from higherhrnet.tracking.tracker import TrackConfig, Tracker
from higherhrnet.visualization.poses import draw, draw_onto


@dataclass
class Summary:
    """Counts and failures of a run; `str` formats them for the user."""

    images: int = 0
    """Number of images and frames that were processed."""
    people: int = 0
    """Number of people that were found."""
    frames: int = 0
    """Number of frames of videos among the images."""
    tracks: set[tuple[Source, int]] = field(default_factory=set)
    """The videos and the track IDs of their people."""
    untracked: int = 0
    """Number of poses in videos that were omitted because they belong to no track."""
    already_finished: int = 0
    """Number of images and videos that the resumed run had finished."""
    failed: list[str] = field(default_factory=list)
    """A message for each file that could not be read and each video that could not be written."""
    interrupted: bool = False
    """Whether Ctrl-C ended the run."""
    seconds: float = 0.0
    """Duration of the run."""

    def add(self, frame: Frame, poses: Poses) -> None:
        """Counts an image or frame and the poses in it."""
        self.images += 1
        self.people += len(poses)
        self.frames += frame.index is not None
        if poses.track_ids is not None:
            self.tracks |= {(frame.source, track_id) for track_id in poses.track_ids.tolist()}

    def add_failure(self, label: str, error: InputError) -> None:
        """Counts a failure and prints it to standard error."""
        self.failed.append(str(error))
        tqdm.write(f"{label}: {error}", file=sys.stderr)

    @property
    def exit_code(self) -> int:
        """The exit code of the command line: 0, 1, 3 or 130; see `cli.main`."""
        if self.interrupted:
            return 130
        if not self.failed:
            return 0
        return 3 if self.images or self.already_finished else 1

    def __str__(self) -> str:
        images = self.images - self.frames
        # a person in a video has a pose in each of many frames
        found = counted(self.people, *(("pose",) if self.frames else ("person", "people")))
        places = [counted(images, "image")] if images or not self.frames else []
        places += [counted(self.frames, "frame")] if self.frames else []
        tracks = f", {counted(len(self.tracks), 'track ID')}" if self.tracks else ""
        if self.untracked:
            omitted = counted(self.untracked, "pose")
            tracks += f", {omitted} with low scores and no track omitted"
        finished = f", {self.already_finished:,} already finished" if self.already_finished else ""
        skipped = f", {len(self.failed):,} skipped" if self.failed else ""
        unit = "images" if images or not self.frames else "frames"
        rate = f"{self.images / max(self.seconds, 1e-9):.1f} {unit}/s"
        counts = f"{found} in {' and '.join(places)}{tracks}{finished}{skipped}"
        return f"{counts}, {self.seconds:.1f} s, {rate}"


@dataclass(frozen=True)
class PredictSettings:
    """Output and video settings of `run_predict`."""

    out: Path
    """The output folder."""
    draw: bool = True
    """Write each image and video with the poses drawn on it."""
    save_maps: bool = False
    """Write an image of the heatmaps, tags and offsets of each image."""
    resume: bool = False
    """Continue an earlier run into the same folder."""
    every: int = 1
    """Process only every N-th frame of a video or camera, beginning with the first."""
    write_results: bool = True
    """Write `predictions.json`, a list of COCO results, at the end."""
    write_csv: bool = False
    """Write `predictions.csv`, with one row per person, at the end."""
    track: TrackConfig | None = None
    """The settings with which people are tracked through videos; None: without tracking."""
    save: tuple[FormatName, ...] = ()
    """Formats of other programs in which the predictions are written at the end."""


@dataclass(frozen=True)
class _DrawnFrame:
    frame: Frame
    """Without pixels where they are not needed for a video."""
    poses: Poses
    drawing: Image | None
    """The drawn frame of a video; None for images, whose drawings are in files."""


def run_predict(
    predictor: Predictor, sources: Sequence[Source], settings: PredictSettings
) -> Summary:
    """Finds the people in all sources and writes the predictions as they are made.

    A file that cannot be read is reported and skipped. Ctrl-C ends the run; what was written until
    then is complete, and `resume` continues from it.

    Raises:
        InputError: the output folder cannot be written to.
    """
    summary, start = Summary(), time.perf_counter()
    sources = [source for source in sources if not _is_own_output(source, settings.out)]
    tracking = asdict(settings.track) if settings.track else None

    with (
        PredictionWriter(
            settings.out,
            predictor.settings() | {"every": settings.every, "tracking": tracking},
            resume=settings.resume,
            write_results=settings.write_results,
            csv_skeleton=predictor.header.skeleton if settings.write_csv else None,
        ) as writer,
        ExitStack() as stack,
    ):
        sources = writer.with_recorded_names(sources)
        names = output_names({source.name for source in sources} | writer.finished_names)
        targets = {source: settings.out / names[source.name] for source in sources}
        remaining = [source for source in sources if not writer.contains(source)]
        summary.already_finished = len(sources) - len(remaining)
        total = sum(count_frames(source, settings.every) for source in remaining)
        progress = stack.enter_context(
            tqdm(total=total or None, unit=" images", disable=None, smoothing=0.1)
        )
        track = _VideoTracking(settings)
        videos = stack.enter_context(
            VideoWriter(
                targets,
                settings.every,
                writer.mark_finished,
                partial(summary.add_failure, "not drawn"),
            )
        )
        draw_frame = partial(_draw_frame, predictor, settings, targets)
        try:
            for result in predict_stream(
                predictor,
                remaining,
                draw_frame,
                settings.every,
                keep_images=settings.draw or settings.save_maps,
            ):
                if isinstance(result, FailedSource):
                    summary.add_failure("skipped", result.reason)
                    videos.mark_incomplete(result.source)
                    continue
                found = len(result.poses)
                result = track(result)
                summary.untracked += found - len(result.poses)
                videos.add(result.frame, result.drawing)
                writer.add(result.frame, result.poses)
                summary.add(result.frame, result.poses)
                progress.update()
            videos.close()
        except KeyboardInterrupt:
            summary.interrupted = True
    if settings.save:
        _save_predictions(settings, predictor.header.skeleton)
    summary.seconds = time.perf_counter() - start
    return summary


def _save_predictions(settings: PredictSettings, skeleton: Skeleton) -> None:
    """Writes the predictions in formats of other programs, whose modules are imported only here."""
    from higherhrnet.io.interchange.formats import save_predictions

    for note in save_predictions(settings.out, settings.save, skeleton):
        tqdm.write(note, file=sys.stderr)


def _draw_frame(
    predictor: Predictor,
    settings: PredictSettings,
    targets: Mapping[Source, Path],
    result: FrameResult,
) -> _DrawnFrame:
    """Draws a frame, and writes the drawings of an image; called in several threads.

    Images are drawn in place. Frames of tracked videos are drawn later, because their poses are not
    final.
    """
    frame, target = result.frame, targets[result.frame.source]
    is_image = frame.index is None
    if not is_image:
        drawn = settings.draw and not settings.track
        return _DrawnFrame(frame, result.poses, draw(frame.image, result.poses) if drawn else None)
    if settings.save_maps:
        write_image(target.with_name(f"{target.name}_maps.jpg"), _draw_maps(predictor, result))
    if settings.draw:  # without a copy, since images can be large
        drawing = draw_onto(frame.image, result.poses)
        write_image(target.with_name(f"{target.name}_poses.jpg"), drawing, overwrite=True)
    return _DrawnFrame(frame.without_pixels(), result.poses, None)


def _draw_maps(predictor: Predictor, result: FrameResult) -> Image:
    """Draws the maps of a frame over the image as the network received it."""
    from higherhrnet.visualization.maps import draw_maps

    image, maps = predictor.drawable_maps(result.frame.image, result.preprocessed, result.outputs)
    return draw_maps(
        image,
        maps.heatmaps,
        maps.tags,
        predictor.header.skeleton,
        centers=maps.centers,
        offsets=maps.offsets,
    )


class _VideoTracking:
    """Tracks people through one video after the other; frames come in order."""

    def __init__(self, settings: PredictSettings) -> None:
        self._settings = settings
        self._source: Source | None = None
        self._tracker = Tracker(settings.track)

    def __call__(self, result: _DrawnFrame) -> _DrawnFrame:
        """Tracks the people of a video frame and draws it; returns other results as they are."""
        frame = result.frame
        if not self._settings.track or frame.index is None:
            return result
        if frame.source is not self._source:
            self._source, self._tracker = frame.source, Tracker(self._settings.track)
        poses = self._tracker(result.poses, timestamp(frame))
        return _DrawnFrame(frame, poses, draw(frame.image, poses) if self._settings.draw else None)


def _is_own_output(source: Source, out: Path) -> bool:
    """Whether a source is a drawing that an earlier run wrote to the output folder."""
    path = source.origin
    if not isinstance(path, Path) or not path.stem.endswith(("_poses", "_maps")):
        return False
    return path.resolve().is_relative_to(out.resolve())
