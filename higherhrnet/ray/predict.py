"""Prediction of the poses in large numbers of images with Ray Data.

Ray distributes the shards of a run to actors. Ray itself retries nothing: an actor whose machine is
lost may never be replaced, and a repeated listing could differ. Instead, the files of shards that
were lost are removed, and another pass processes all images that have no result yet.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import ray
import ray.data
from tqdm import tqdm

from higherhrnet.errors import require
from higherhrnet.inference.run import Summary
from higherhrnet.poses.skeleton import Skeleton
from higherhrnet.ray.actor import InferenceActor, Load
from higherhrnet.ray.cluster import cluster, max_actors
from higherhrnet.ray.paths import absolute_uri, deduplicate, locate
from higherhrnet.ray.shards import Row, list_shards, shard_result, shard_rows
from higherhrnet.ray.tables import (
    begin_run,
    count_results,
    failure_messages,
    remove_incomplete,
    write_shard,
)


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
    """Predicts the poses in images on a Ray cluster and writes them into Parquet tables.

    Args:
        load: loads the predictor; called once here, to find errors early, and in each actor.
        sources: images and folders, as paths or URIs.
        out: the output folder, as a path or URI that all machines of the cluster can reach.
        address: HOST:PORT of the cluster; None for the cluster of this machine, or for a new one if
            there is none.
        actors: the number of actors; None for as many as fit on the idle cluster.
        cpus: the number of CPUs that each actor uses.
        gpus: the number of GPUs that each actor uses, which may be a fraction.
        images_per_shard: the number of images in each shard.
        resume: continue an earlier run into the same folder.

    Raises:
        InputError: there are no images, the output folder or the cluster cannot be used, or an
            actor cannot load the model.
    """
    sources, out, predictor = deduplicate(sources), absolute_uri(out), load()
    summary, start = Summary(), perf_counter()
    folder = locate(out)
    run = begin_run(folder, predictor.settings(), resume)
    summary.already_finished, people_before = count_results(folder)
    job = _Job(load, sources, out, run, {"num_cpus": cpus, "num_gpus": gpus})
    try:
        with cluster(address):
            job.process(
                images_per_shard, _num_actors(actors, cpus, gpus), predictor.header.skeleton
            )
    except KeyboardInterrupt:
        summary.interrupted = True
    remove_incomplete(folder, job.run)
    # Counted from the tables, since a machine may be lost after it has written a shard and before
    # it has reported it.
    images, people = count_results(folder)
    summary.images, summary.people = images - summary.already_finished, people - people_before
    summary.failed = failure_messages(folder)
    has_images = bool(images or summary.failed or summary.interrupted)
    require(has_images, f"{', '.join(sources)}: contains no images")
    summary.seconds = perf_counter() - start
    return summary


def _num_actors(actors: int | None, cpus: int, gpus: float) -> int:
    available = max_actors(cpus, gpus)
    require(
        bool(actors or available),
        f"no machine of the cluster has room for an actor (CPUs: {cpus}, GPUs: {gpus:g}); reduce "
        "--threads or --gpus",
    )
    if actors and actors > available:
        print(
            f"The cluster has room for {available} of {actors} actors; the others start when there "
            "is more room.",
            file=sys.stderr,
        )
    return actors or available


@dataclass
class _Job:
    """A run on a connected cluster."""

    load: Load
    sources: Sequence[str]
    out: str
    run: str
    """The identifier of the run; it changes with each pass."""
    resources: dict[str, float]
    """The CPUs and GPUs of each actor, as Ray's arguments."""

    def process(self, images_per_shard: int, actors: int, skeleton: Skeleton) -> None:
        """Processes all images without a result, in up to three passes.

        The second pass repeats shards that were lost with a process or machine. The third has one
        image in each shard; an image that is lost once more is recorded as failed, because it
        probably kills the process.
        """
        with tqdm(unit=" images", disable=None, smoothing=0.1) as bar:
            for size in (images_per_shard, images_per_shard, 1):
                if self._run_pass(size, actors, bar):
                    return
                self.run = remove_incomplete(locate(self.out), self.run)
            for shard in list_shards(self.sources, self.out, 1):
                failed = dict.fromkeys(shard.names, "the process died while it processed the image")
                write_shard(locate(self.out), self.run, shard.names, [], failed, skeleton)
                _report(shard_result(failed=failed), bar)

    def _run_pass(self, images_per_shard: int, actors: int, bar: tqdm[Any]) -> bool:
        """Processes all images without a result; returns whether no shard was lost."""
        task = {"sources": self.sources, "out": self.out, "images_per_shard": images_per_shard}
        this_node = {"ray.io/node-id": ray.get_runtime_context().get_node_id()}
        rows = ray.data.from_items([task]).flat_map(
            shard_rows,
            num_cpus=0,
            label_selector=this_node,
            ray_remote_args_fn=lambda: {"max_retries": 0},
        )
        results = rows.map(
            InferenceActor,  # type: ignore[arg-type]
            fn_constructor_args=(self.load, self.out, self.run),
            # One shard at a time, since those that wait in an actor are lost with it.
            compute=ray.data.ActorPoolStrategy(size=actors, max_tasks_in_flight_per_actor=1),
            ray_remote_args_fn=lambda: {"max_task_retries": 0},
            **self.resources,  # type: ignore[arg-type]
        )
        completed, expected = 0, None
        for result in results.iter_rows():
            if "\n" in result["error"]:
                raise RuntimeError(result["error"])  # a bug, with the traceback of its machine
            require(not result["error"], result["error"])
            if result["num_shards"] is None:
                completed += 1
            else:
                expected = result["num_shards"]
            _report(result, bar)
        return completed == expected


def _report(result: Row, bar: tqdm[Any]) -> None:
    for message in result["failed"]:
        tqdm.write(f"skipped: {message}", file=sys.stderr)
    bar.update(result["images"])
