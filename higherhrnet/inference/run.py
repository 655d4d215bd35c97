"""The predict command's work: sources → people → predictions, pictures and videos in a folder."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

from tqdm import tqdm

from higherhrnet.arrays import Image
from higherhrnet.errors import InputError
from higherhrnet.inference.predictor import Predictor
from higherhrnet.inference.stream import FailedSource, FrameResult, predict_stream
from higherhrnet.io.images import write_image
from higherhrnet.io.predictions import PredictionWriter
from higherhrnet.io.sources import Frame, Source, count_frames
from higherhrnet.io.video_writer import VideoWriter, timestamp
from higherhrnet.poses import Poses
from higherhrnet.tracking.tracker import TrackConfig, Tracker
from higherhrnet.visualization.maps import draw_maps
from higherhrnet.visualization.poses import draw


@dataclass
class Summary:
    """What a run did."""

    images: int = 0
    people: int = 0
    skipped: int = 0
    """Pictures and videos that an earlier run had done."""
    failed: list[str] = field(default_factory=list)
    """A line for each file that could not be read, or video that could not be written."""
    interrupted: bool = False
    seconds: float = 0.0

    def fail(self, what: str, reason: InputError) -> None:
        """Counts what failed, and says so at once."""
        self.failed.append(str(reason))
        tqdm.write(f"{what}: {reason}", file=sys.stderr)

    @property
    def exit_code(self) -> int:
        """The exit code of the command line: 0, 1, 3 or 130; see `cli.main`."""
        if self.interrupted:
            return 130
        if not self.failed:
            return 0
        return 3 if self.images or self.skipped else 1

    def __str__(self) -> str:
        rate = self.images / max(self.seconds, 1e-9)
        before = f", {self.skipped} done before" if self.skipped else ""
        failed = f", {len(self.failed)} skipped" if self.failed else ""
        return (
            f"{self.people} people in {self.images} images{before}{failed}, "
            f"{self.seconds:.1f} s, {rate:.1f} images a second,"
        )


@dataclass(frozen=True)
class PredictSettings:
    """What is written."""

    out: Path
    draw: bool = True
    """The photograph or video with its people drawn."""
    save_maps: bool = False
    """A sheet of each photograph's heatmaps and tags."""
    resume: bool = False
    """Go on where an earlier run into the same folder stopped."""
    every: int = 1
    """Of a video, only each so many-th frame."""
    write_results: bool = True
    """COCO results at the end, besides the line an image."""
    write_csv: bool = False
    """A table for spreadsheets at the end."""
    track: TrackConfig | None = None
    """How to follow people through videos; None: each frame by itself."""


@dataclass(frozen=True)
class _Done:
    frame: Frame
    poses: Poses
    drawn: Image | None


def run_predict(
    predictor: Predictor, sources: Sequence[Source], settings: PredictSettings
) -> Summary:
    """Finds the people of all sources and writes them down as they are found.

    A file that cannot be read is reported and left out. Ctrl-C ends the run; what was done by then
    is whole, and `resume` goes on from it.

    Raises:
        InputError: the output folder cannot be written to.
    """
    summary, start = Summary(), time.perf_counter()
    sources = [source for source in sources if not _is_ours(source, settings.out)]
    names = _output_names(sources)
    targets = {source: settings.out / names[source.name] for source in sources}
    look = predictor.settings() | ({"track": asdict(settings.track)} if settings.track else {})
    table = predictor.header.skeleton if settings.write_csv else None

    with (
        PredictionWriter(
            settings.out, settings.resume, settings.write_results, look, table
        ) as journal,
        ExitStack() as stack,
    ):
        left = [source for source in sources if not journal.holds(source)]
        summary.skipped = len(sources) - len(left)
        total = sum(count_frames(source, settings.every) for source in left)
        bar = stack.enter_context(
            tqdm(total=total or None, unit=" images", disable=None, smoothing=0.1)
        )
        finish = partial(_finish, predictor, settings, targets)
        follow = _Followers(settings)
        not_drawn = partial(summary.fail, "not drawn")
        videos = stack.enter_context(
            VideoWriter(targets, settings.every, journal.finish, not_drawn)
        )
        try:
            for done in predict_stream(predictor, left, finish, settings.every):
                if isinstance(done, FailedSource):
                    summary.fail("skipped", done.reason)
                    videos.miss(done.source)
                    continue
                done = follow(done)
                videos.add(done.frame, done.drawn)
                journal.add(done.frame, done.poses)
                summary.images += 1
                summary.people += len(done.poses)
                bar.update()
            videos.close()
        except KeyboardInterrupt:
            summary.interrupted = True
    summary.seconds = time.perf_counter() - start
    return summary


def _finish(
    predictor: Predictor,
    settings: PredictSettings,
    targets: Mapping[Source, Path],
    found: FrameResult,
) -> _Done:
    """Draws a frame and writes a picture's drawing; runs in a thread, in no order."""
    frame, target = found.frame, targets[found.frame.source]
    picture = frame.index is None
    if settings.save_maps and picture:
        write_image(target.with_name(f"{target.name}_maps.jpg"), _maps_of(predictor, found))
    drawn = None
    if settings.draw and (picture or not settings.track):
        drawn = draw(frame.image, found.poses)
    if drawn is not None and picture:
        write_image(target.with_name(f"{target.name}_poses.jpg"), drawn)
    return _Done(frame, found.poses, drawn)


class _Followers:
    """Numbers and steadies the people of one video after the other, whose frames come in order."""

    def __init__(self, settings: PredictSettings) -> None:
        self._settings = settings
        self._source: Source | None = None
        self._tracker = Tracker(settings.track)

    def __call__(self, done: _Done) -> _Done:
        """The frame with its people followed, and drawn so; as it was if that is not wanted."""
        frame = done.frame
        if not self._settings.track or frame.index is None:
            return done
        if frame.source is not self._source:
            self._source, self._tracker = frame.source, Tracker(self._settings.track)
        poses = self._tracker(done.poses, timestamp(frame))
        return _Done(frame, poses, draw(frame.image, poses) if self._settings.draw else None)


def _is_ours(source: Source, out: Path) -> bool:
    """Whether an earlier run wrote it, and a folder that holds the output folder listed it."""
    if isinstance(source.origin, int) or not source.origin.stem.endswith(("_poses", "_maps")):
        return False
    return source.origin.resolve().is_relative_to(out.resolve())


def _output_names(sources: Sequence[Source]) -> dict[str, str]:
    """For each source's name, the start of its outputs' names: without suffix where that is clear.

    A picture a.jpg beside a picture a.png would overwrite the other's drawing.
    """
    stems = {source.name: str(Path(source.name).with_suffix("")) for source in sources}
    taken = Counter(stems.values())
    return {name: stem if taken[stem] == 1 else name for name, stem in stems.items()}


def _maps_of(predictor: Predictor, found: FrameResult) -> Image:
    """A sheet of what the network sees, over the photograph as it is shown to it."""
    seen, heatmaps, tags = predictor.drawable_maps(found.frame.image, found.prepared, found.outputs)
    return draw_maps(seen, heatmaps, tags, predictor.header.skeleton)
