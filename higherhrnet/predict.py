"""The predict command's work: sources → people → predictions, pictures and videos in a folder."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import cv2
from tqdm import tqdm

from higherhrnet.drawing import draw, draw_maps
from higherhrnet.errors import InputError
from higherhrnet.files import replacing
from higherhrnet.inference.images import Image, write_image
from higherhrnet.inference.predictor import Predictor
from higherhrnet.inference.sources import Frame, Source, count_frames
from higherhrnet.inference.stream import Failed, Found, stream
from higherhrnet.journal import Journal
from higherhrnet.poses import Poses


@dataclass
class Summary:
    """What a run did."""

    images: int = 0
    people: int = 0
    skipped: int = 0
    """Pictures and videos that an earlier run had done."""
    failed: list[str] = field(default_factory=list)
    """A line for each file that could not be read."""
    interrupted: bool = False
    seconds: float = 0.0

    def __str__(self) -> str:
        rate = self.images / max(self.seconds, 1e-9)
        before = f", {self.skipped} done before" if self.skipped else ""
        failed = f", {len(self.failed)} skipped" if self.failed else ""
        return (
            f"{self.people} people in {self.images} images{before}{failed}, "
            f"{self.seconds:.1f} s, {rate:.1f} images a second,"
        )


@dataclass(frozen=True)
class Settings:
    """What is written."""

    out: Path
    draw: bool = True
    """The photograph or video with its people drawn."""
    show_maps: bool = False
    """A sheet of each photograph's heatmaps and tags."""
    resume: bool = False
    """Go on where an earlier run into the same folder stopped."""
    every: int = 1
    """Of a video, only each so many-th frame."""
    results: bool = True
    """COCO results at the end, besides the line an image."""


@dataclass(frozen=True)
class _Done:
    frame: Frame
    poses: Poses
    drawn: Image | None


def predict(predictor: Predictor, sources: Sequence[Source], settings: Settings) -> Summary:
    """Finds the people of all sources and writes them down as they are found.

    A file that cannot be read is reported and left out. Ctrl-C ends the run; what was done by then
    is whole, and `resume` goes on from it.

    Raises:
        InputError: the output folder cannot be written to.
    """
    summary, start = Summary(), time.perf_counter()
    sources = [source for source in sources if not _is_ours(source, settings.out)]
    names = _output_names(sources)

    def finish(found: Found) -> _Done:
        frame = found.frame
        target = settings.out / names[frame.source.name]
        if settings.show_maps and frame.index is None:
            write_image(target.with_name(f"{target.name}_maps.jpg"), _maps_of(predictor, found))
        drawn = draw(frame.image, found.poses) if settings.draw else None
        if drawn is not None and frame.index is None:
            write_image(target.with_name(f"{target.name}_poses.jpg"), drawn)
        return _Done(frame, found.poses, drawn)

    with (
        Journal(settings.out, settings.resume, settings.results, predictor.look()) as journal,
        ExitStack() as stack,
    ):
        left = [source for source in sources if not journal.holds(source)]
        summary.skipped = len(sources) - len(left)
        total = sum(count_frames(source, settings.every) for source in left)
        bar = stack.enter_context(
            tqdm(total=total or None, unit=" images", disable=None, smoothing=0.1)
        )
        videos = stack.enter_context(_Videos(settings, names, journal))
        try:
            for done in stream(predictor, left, finish, settings.every):
                if isinstance(done, Failed):
                    summary.failed.append(str(done.reason))
                    tqdm.write(f"skipped: {done.reason}", file=sys.stderr)
                    videos.give_up(done.source)
                    continue
                try:
                    videos.add(done)
                except InputError as error:
                    summary.failed.append(str(error))
                    tqdm.write(f"not drawn: {error}", file=sys.stderr)
                journal.add(done.frame, done.poses)
                summary.images += 1
                summary.people += len(done.poses)
                bar.update()
            videos.close()
        except KeyboardInterrupt:
            summary.interrupted = True
    summary.seconds = time.perf_counter() - start
    return summary


class _Videos:
    """Writes the drawn frames of one video after the other."""

    def __init__(self, settings: Settings, names: dict[str, str], journal: Journal) -> None:
        self.settings, self.names, self.journal = settings, names, journal
        self.source: Source | None = None
        self.stack = ExitStack()
        self.writer: cv2.VideoWriter | None = None

    def __enter__(self) -> _Videos:
        return self

    def __exit__(self, *_: object) -> None:
        self.stack.close()  # a video cut short can be watched to there

    def give_up(self, source: Source) -> None:
        """Ends a video that could not be read to its end; another run would begin it anew."""
        if source is self.source:
            self.source = None
            self.close()

    def add(self, done: _Done) -> None:
        """Takes the next frame, of the same video or of another source."""
        if done.frame.source is not self.source:
            self.close()
            if done.frame.index is not None:
                self.source = done.frame.source
                if done.drawn is not None:
                    self._open(done.frame, done.drawn)
        if self.writer is not None and done.drawn is not None:
            self.writer.write(cv2.cvtColor(done.drawn, cv2.COLOR_RGB2BGR))

    def close(self) -> None:
        """Ends the video, if there is one, as done."""
        self.stack.close()
        self.writer = None
        if self.source is not None:
            self.journal.finish(self.source)
            self.source = None

    def _open(self, frame: Frame, drawn: Image) -> None:
        height, width = drawn.shape[:2]
        target = self.settings.out / f"{self.names[frame.source.name]}_poses.mp4"
        # MPEG-4 counts time in 65,535ths at the finest, so it does not take every rate.
        rate = min(round((frame.fps or 25.0) / self.settings.every, 2), 1000.0)
        with ExitStack() as attempt:
            beside = attempt.enter_context(replacing(target))
            codec = cv2.VideoWriter.fourcc(*"mp4v")
            writer = cv2.VideoWriter(str(beside), codec, rate, (width, height))
            attempt.callback(writer.release)
            if not writer.isOpened():
                raise InputError(f"{target}: OpenCV cannot write a video at {rate} frames a second")
            self.stack, self.writer = attempt.pop_all(), writer


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


def _maps_of(predictor: Predictor, found: Found) -> Image:
    """A sheet of what the network sees, over the photograph as it is shown to it."""
    seen, heatmaps, tags = predictor.view(found.frame.image, found.prepared, found.outputs)
    return draw_maps(seen, heatmaps, tags, predictor.header.skeleton)
