"""Work handed out by Ray Data, a unit of some hundred paths at a time, to actors with an engine.

An actor reads a unit's pictures straight from where they are, so that none passes through Ray's
object store, and writes the unit's files. What a unit wrote that was lost with its machine before
its last file is removed before its pictures are looked at again, in another unit.
"""

from __future__ import annotations

import json
import socket
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import chain, groupby, islice
from pathlib import Path
from time import perf_counter
from types import MappingProxyType
from typing import Any

import ray
import ray.data
from pyarrow.fs import FileType
from tqdm import tqdm

from higherhrnet.arrays import Image
from higherhrnet.errors import InputError, require
from higherhrnet.inference.predictor import Predictor
from higherhrnet.inference.run import Summary
from higherhrnet.inference.stream import FailedSource, FrameResult, predict_stream
from higherhrnet.io.sources import Source
from higherhrnet.ray.cluster import cluster, max_actors
from higherhrnet.ray.paths import absolute, deduplicate, location
from higherhrnet.ray.tables import (
    ProcessedImage,
    begin_run,
    completed_images,
    count_results,
    failures,
    remove_incomplete,
    write_shard,
)

ROUNDS = None, None, 1
"""Images to a unit, as wanted if None: what was lost with its machine is done once more, then one
by one, to know the picture that kills whoever looks at it."""

Load = Callable[[], Predictor]
Row = dict[str, Any]


def run_predict_ray(
    load: Load,
    sources: Sequence[str],
    out: str,
    *,
    address: str | None = None,
    actors: int | None = None,
    cpus: int = 1,
    gpus: float = 0.0,
    images_per_shard: int = 256,
    resume: bool = False,
) -> Summary:
    """Finds the people of all pictures, wherever pictures and machines are.

    Args:
        load: makes the predictor: here, to see that it can be, and in each actor.
        sources: pictures and folders of them, as paths or URIs.
        out: the folder to write to, which all machines must see; a path or a URI.
        address: of the cluster; if None the one on this machine, or one started for this run.
        actors: how many; as many as the cluster has room for if None.
        cpus: that each takes.
        gpus: that each takes, perhaps a part of one.
        images_per_shard: images to a unit.
        resume: go on with what the folder holds.

    Raises:
        InputError: there is nothing to look at, the folder or the cluster cannot be used, or an
            actor cannot load the model.
    """
    named, out, predictor = deduplicate(sources), absolute(out), load()
    summary, start = Summary(), perf_counter()
    run = begin_run(location(out), predictor.settings(), resume)
    summary.skipped, people = count_results(location(out))
    try:
        with cluster(address), tqdm(unit=" images", disable=None, smoothing=0.1) as bar:
            free = max_actors(cpus, gpus)
            size = actors or free
            require(
                size > 0, f"no machine of the cluster has {cpus} CPUs and {gpus:g} GPUs to spare"
            )
            if size > free:
                tqdm.write(f"room for {free} of {size} actors; waiting for more", file=sys.stderr)
            finder: dict[str, Any] = {
                # one unit at a time, since those that wait in an actor die with it
                "compute": ray.data.ActorPoolStrategy(size=size, max_tasks_in_flight_per_actor=1),
                "num_cpus": cpus,
                "num_gpus": gpus,
            }
            work: Row = {"sources": named, "out": out}
            for most in ROUNDS:
                finder["fn_constructor_args"] = (load, out, run)
                if _look(work | {"images_per_shard": most or images_per_shard}, finder, bar):
                    break
                run = remove_incomplete(location(out), run)
            else:
                for unit in _units(work | {"images_per_shard": 1}):
                    if unit["result"] is not None:
                        break
                    failed = dict.fromkeys(_names(unit), "the process that looked at it died")
                    write_shard(
                        location(out), run, [*failed], [], failed, predictor.header.skeleton
                    )
                    _show(_result(failed=failed), bar)
    except KeyboardInterrupt:
        summary.interrupted = True
    remove_incomplete(location(out), run)
    # by the tables, since a machine may die between writing and saying so
    images, found = count_results(location(out))
    summary.images, summary.people = images - summary.skipped, found - people
    summary.failed = failures(location(out))
    looked_at = images or summary.failed or summary.interrupted
    require(bool(looked_at), f"{', '.join(sources)}: no picture in there")
    summary.seconds = perf_counter() - start
    return summary


def _look(work: Row, finder: dict[str, Any], bar: tqdm[Any]) -> bool:
    """Has the cluster look at all that is not done yet; says whether nothing of it was lost.

    Nothing is tried again by Ray: an actor whose machine is gone may never find another, and a
    listing begun anew would not be the same.
    """
    here = {"ray.io/node-id": ray.get_runtime_context().get_node_id()}
    begun = ray.data.from_items([work])
    units = begun.flat_map(
        _units, num_cpus=0, label_selector=here, ray_remote_args_fn=lambda: {"max_retries": 0}
    )
    once = {"ray_remote_args_fn": lambda: {"max_task_retries": 0}}
    open_units = -1
    for result in units.map(_Finder, **once, **finder).iter_rows():  # type: ignore[arg-type]
        if "\n" in result["error"]:
            raise RuntimeError(result["error"])  # a bug, as its machine saw it
        require(not result["error"], result["error"])
        open_units += result["units"]
        _show(result, bar)
    return open_units == 0


def _show(result: Row, bar: tqdm[Any]) -> None:
    for reason in result["failed"]:
        tqdm.write(f"skipped: {reason}", file=sys.stderr)
    bar.update(result["images"])


def _units(work: Row) -> Iterator[Row]:
    """All that is still to be looked at, in units of one filesystem each; last how many."""
    count = 0
    try:
        before = completed_images(location(work["out"]))
        for _, group in groupby(work["sources"], lambda uri: location(uri).files):
            uris = list(group)
            scheme = location(uris[0]).scheme
            paths = chain.from_iterable(location(uri).pictures() for uri in uris)
            new = (path for path in paths if scheme + path not in before)
            while unit := list(islice(new, work["images_per_shard"])):
                count += 1
                yield {"root": uris[0], "paths": unit, "result": None}
        end = _result(units=count + 1)
    except (InputError, OSError) as error:
        end = _result(error=str(error).partition("\n")[0])
    yield {"root": None, "paths": None, "result": json.dumps(end)}


def _names(unit: Row) -> list[str]:
    return [location(unit["root"]).scheme + path for path in unit["paths"]]


def _result(
    images: int = 0,
    failed: Mapping[str, str] = MappingProxyType({}),
    units: int = -1,
    error: str = "",
) -> Row:
    """What became of a unit; `units` are those still open after it, added up."""
    reasons = [f"{name}: {reason}" for name, reason in failed.items()]
    return {"images": images, "failed": reasons, "units": units, "error": error}


class _Finder:
    """An actor: finds the people of one unit after the other."""

    def __init__(self, load: Load, out: str, run: str) -> None:
        self._load, self._out, self._run = load, out, run

    @cached_property
    def _predictor(self) -> Predictor:
        """Made at the first unit: what fails there is said as what fails later."""
        return self._load()

    def __call__(self, unit: Row) -> Row:
        """Looks at a unit's pictures and says what became of them; never raises."""
        if unit["result"] is not None:
            return dict(json.loads(unit["result"]))
        try:
            return self._look(unit)
        except OSError as error:
            reason = str(error).partition("\n")[0]
            return _result(error=f"{reason}; do all machines see the same folders?")
        except InputError as error:
            return _result(error=str(error).partition("\n")[0])
        except Exception:
            return _result(error=traceback.format_exc())

    def _look(self, unit: Row) -> Row:
        root = location(unit["root"])
        if root.files.get_file_info(root.path).type == FileType.NotFound:
            raise FileNotFoundError(f"{unit['root']}: is not there on {socket.gethostname()}")

        def read(source: Source) -> Image:
            return root.read(source.name.removeprefix(root.scheme))

        names = _names(unit)
        sources = [Source(name, Path(name)) for name in names]
        results = list(predict_stream(self._predictor, sources, _seen, read=read))
        seen = [result for result in results if isinstance(result, ProcessedImage)]
        failed = {
            result.source.name: str(result.reason).removeprefix(f"{result.source.name}: ")
            for result in results
            if isinstance(result, FailedSource)
        }
        skeleton = self._predictor.header.skeleton
        write_shard(location(self._out), self._run, names, seen, failed, skeleton)
        return _result(len(seen), failed)


def _seen(found: FrameResult) -> ProcessedImage:
    height, width = found.frame.image.shape[:2]
    return ProcessedImage(found.frame.source.name, (height, width), found.poses)
