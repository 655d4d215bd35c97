"""Work handed out by Ray Data, a unit of some hundred paths at a time, to actors with an engine.

An actor reads a unit's pictures straight from where they are, so that none passes through Ray's
object store, and writes the unit's files, which are named by its paths: a unit that is done twice,
because a machine died, leaves the same ones.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from itertools import chain, groupby, islice
from pathlib import Path
from time import perf_counter
from typing import Any

import ray
import ray.data
from ray.exceptions import RayTaskError
from tqdm import tqdm

from higherhrnet.errors import InputError, check
from higherhrnet.inference.images import Image
from higherhrnet.inference.predictor import Predictor
from higherhrnet.inference.sources import Source
from higherhrnet.inference.stream import Failed, Found, stream
from higherhrnet.many.places import absolute, apart, place
from higherhrnet.many.tables import Seen, begin, done, write_unit
from higherhrnet.predict import Summary

Load = Callable[[], Predictor]
Row = dict[str, Any]


def predict_many(
    load: Load,
    sources: Sequence[str],
    out: str,
    *,
    address: str | None = None,
    actors: int | None = None,
    cpus: int = 1,
    gpus: float = 0.0,
    per_file: int = 256,
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
        per_file: images to a unit.
        resume: go on with what the folder holds.

    Raises:
        InputError: there is nothing to look at, the folder or the cluster cannot be used, or an
            actor cannot load the model.
    """
    named, out = apart(sources), absolute(out)
    summary, start = Summary(), perf_counter()
    summary.skipped = begin(place(out), load().look(), resume)
    try:
        with _cluster(address), tqdm(unit=" images", disable=None, smoothing=0.1) as bar:
            size = actors or _room(cpus, gpus)
            units = ray.data.from_items([{"sources": named, "out": out, "per_file": per_file}])
            here = {"ray.io/node-id": ray.get_runtime_context().get_node_id()}
            results = units.flat_map(_units, num_cpus=0, label_selector=here).map(
                _Finder,  # type: ignore[arg-type]
                fn_constructor_args=(load, out),
                compute=ray.data.ActorPoolStrategy(size=size),
                num_cpus=cpus,
                num_gpus=gpus,
            )
            for result in results.iter_rows():
                _count(result, summary, bar)
    except KeyboardInterrupt:
        summary.interrupted = True
    summary.seconds = perf_counter() - start
    return summary


def _count(result: Row, summary: Summary, bar: tqdm[Any]) -> None:
    summary.images += result["images"]
    summary.people += result["people"]
    summary.failed += result["failed"]
    for reason in result["failed"]:
        tqdm.write(f"skipped: {reason}", file=sys.stderr)
    bar.update(result["images"])


@contextmanager
def _cluster(address: str | None) -> Iterator[None]:
    """Joins it, or starts one; what went wrong in an actor and is the user's to mend is a line."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is told to Ray's makers
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # of the rest it warns each time
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", module="ray")
    try:
        host, _, port = (address or "").removeprefix("ray://").rpartition(":")
        if host:  # where nobody answers, Ray would ask for minutes
            socket.create_connection((host, int(port)), timeout=10).close()
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, ValueError) as error:
        raise InputError(f"--ray {address or ''}: no cluster can be joined: {error}") from error
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.raise_original_map_exception = True
    context.target_max_block_size = 1  # a unit is a block of its own, for any actor to take
    try:
        yield
    except RayTaskError as error:
        said = str(error.cause).partition("\n")[0]
        if isinstance(error.cause, OSError):
            said += "; do all machines see the same folders?"
        elif not isinstance(error.cause, InputError):
            raise
        raise InputError(said) from error
    finally:
        ray.shutdown()


def _room(cpus: int, gpus: float) -> int:
    """How many actors the machines of the cluster can hold."""
    machines = [
        node["Resources"]
        for node in ray.nodes()  # type: ignore[no-untyped-call]
        if node["Alive"]
    ]
    free = (
        min(has.get("CPU", 0) // cpus, has.get("GPU", 0) // gpus if gpus else sys.maxsize)
        for has in machines
    )
    room = int(sum(free))
    check(room > 0, f"no machine of the cluster has {cpus} CPUs and {gpus:g} GPUs for an actor")
    return room


def _units(row: Row) -> Iterator[Row]:
    """All that is still to be looked at, in units of one filesystem each."""
    before = done(place(row["out"]))
    for _, group in groupby(row["sources"], lambda uri: place(uri).files):
        uris = list(group)
        scheme = place(uris[0]).scheme
        paths = chain.from_iterable(place(uri).pictures() for uri in uris)
        new = (path for path in paths if scheme + path not in before)
        while unit := list(islice(new, row["per_file"])):
            yield {"root": uris[0], "paths": unit}


class _Finder:
    """An actor: finds the people of one unit after the other."""

    def __init__(self, load: Load, out: str) -> None:
        self._load, self._out = load, place(out)

    @cached_property
    def _predictor(self) -> Predictor:
        """Made at the first unit, since what fails there reaches the user as what it is."""
        return self._load()

    def __call__(self, unit: Row) -> Row:
        """Writes a unit's files; says how many images, how many people, and what failed."""
        root = place(unit["root"])

        def read(source: Source) -> Image:
            return root.read(source.name.removeprefix(root.scheme))

        names = [root.scheme + path for path in unit["paths"]]
        sources = [Source(name, Path(name)) for name in names]
        results = list(stream(self._predictor, sources, _seen, read=read))
        seen = [result for result in results if isinstance(result, Seen)]
        failed = {
            result.source.name: str(result.reason).removeprefix(f"{result.source.name}: ")
            for result in results
            if isinstance(result, Failed)
        }
        write_unit(self._out, names, seen, failed, self._predictor.header.skeleton)
        people = sum(len(one.poses) for one in seen)
        reasons = [f"{name}: {reason}" for name, reason in failed.items()]
        return {"images": len(seen), "people": people, "failed": reasons}


def _seen(found: Found) -> Seen:
    height, width = found.frame.image.shape[:2]
    return Seen(found.frame.source.name, (height, width), found.poses)
