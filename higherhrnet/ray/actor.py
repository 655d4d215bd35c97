"""The Ray actor that predicts the poses in the images of shards."""

from __future__ import annotations

import json
import socket
import traceback
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

from pyarrow.fs import FileType

from higherhrnet.arrays import Image
from higherhrnet.errors import InputError
from higherhrnet.inference.frames import FailedSource, FrameResult
from higherhrnet.inference.predictor import Predictor
from higherhrnet.inference.stream import predict_stream
from higherhrnet.io.sources import Source
from higherhrnet.ray.paths import locate
from higherhrnet.ray.shards import Row, Shard, shard_result
from higherhrnet.ray.tables import ProcessedImage, write_shard

Load = Callable[[], Predictor]


class InferenceActor:
    """Processes one shard after another.

    It reads the images from their filesystem, so that none passes through Ray's object store, and
    writes the files of the shard.

    Args:
        load: loads the predictor.
        out: the output folder.
        run: the identifier of the run.
    """

    def __init__(self, load: Load, out: str, run: str) -> None:
        self._load, self._out, self._run = load, out, run

    @cached_property
    def _predictor(self) -> Predictor:
        """Returns the predictor; it is loaded at the first shard, which then reports errors."""
        return self._load()

    def __call__(self, row: Row) -> Row:
        """Processes a shard; errors are returned in its result."""
        if row["result"] is not None:
            return dict(json.loads(row["result"]))
        try:
            return self._process(Shard(row["source"], list(row["paths"])))
        except OSError as error:
            reason = str(error).partition("\n")[0]
            return shard_result(
                error=f"{reason}; all machines must have access to the images and to --out"
            )
        except InputError as error:
            return shard_result(error=str(error).partition("\n")[0])
        except Exception:
            return shard_result(error=traceback.format_exc())

    def _process(self, shard: Shard) -> Row:
        source = locate(shard.source)
        if source.filesystem.get_file_info(source.path).type == FileType.NotFound:
            raise FileNotFoundError(f"{shard.source}: missing on {socket.gethostname()}")

        def read(image: Source) -> Image:
            return source.read(image.name.removeprefix(source.scheme))

        names = shard.names
        images = [Source(name, Path(name)) for name in names]
        results = list(predict_stream(self._predictor, images, _processed_image, read=read))
        processed = [result for result in results if isinstance(result, ProcessedImage)]
        failed = {
            result.source.name: str(result.reason).removeprefix(f"{result.source.name}: ")
            for result in results
            if isinstance(result, FailedSource)
        }
        skeleton = self._predictor.header.skeleton
        write_shard(locate(self._out), self._run, names, processed, failed, skeleton)
        return shard_result(len(processed), failed)


def _processed_image(result: FrameResult) -> ProcessedImage:
    height, width = result.frame.image.shape[:2]
    return ProcessedImage(result.frame.source.name, (height, width), result.poses)
