"""predict-ray: finds the people in large numbers of images with a Ray cluster."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from higherhrnet.cli.options import Flag, InferenceOptions
from higherhrnet.config.flags import flag, required
from higherhrnet.errors import reading, require, require_packages


@dataclass(frozen=True)
class ActorOptions(InferenceOptions):
    """The model, the engine and the inference settings of each actor."""

    threads: Annotated[int | None, flag("1", "INT")] = None
    """Number of CPUs that are reserved for each actor and used by its network."""
    streams: Annotated[int | None, flag("1", "INT")] = None
    """Number of concurrent inference requests of each actor, which share its threads."""


def predict_ray(
    sources: Annotated[Positional[tuple[str, ...]], required("SOURCE ...")],
    /,
    options: Annotated[ActorOptions, arg(name="")] = ActorOptions(),
    out: Annotated[str, arg(aliases=["-o"], metavar="PATH|URI")] = "poses",
    address: Annotated[
        str | None,
        flag("the cluster of this machine; without one, a cluster is started", "HOST:PORT"),
    ] = None,
    actors: Annotated[int | None, flag("as many as fit on the idle cluster", "INT")] = None,
    gpus: Annotated[float, flag("0, CPU only")] = 0.0,
    images_per_shard: int = 256,
    resume: Flag = False,
) -> int:
    """Find the people in large numbers of images with a Ray cluster.

    Images and results may be on local disks or on s3://, gs:// and other filesystems. Results are
    Parquet tables with one row per person; nothing is drawn.

    Args:
        sources: Images and folders, as paths or URIs; no videos and no glob patterns.
        options: The model and the inference settings.
        out: The folder to write to, as a path or a URI that all machines of the cluster can reach.
            It must not contain an earlier run, unless --resume is given.
        address: The address of the cluster.
        actors: Number of actors, the worker processes of Ray.
        gpus: GPUs for each actor; 0.5 lets two actors share one.
        images_per_shard: Number of images per Parquet file. It is also the amount of work that is
            repeated when a machine fails.
        resume: Continue an earlier run into the same folder; images that it finished are skipped.
    """
    require_packages("predict-ray", "ray", "ray", "pyarrow")
    from higherhrnet.ray.predict import run_predict_ray

    require(len(sources) > 0, "name at least one image or folder")
    require(
        address is None or not address.startswith("ray://"),
        f"--address {address}: use the HOST:PORT of a cluster that this machine belongs to, "
        "for example HOST:6379",
    )
    require(actors is None or actors >= 1, f"--actors must be at least 1, not {actors}")
    require(gpus >= 0, f"--gpus must not be negative: {gpus}")
    require(images_per_shard >= 1, f"--images-per-shard must be at least 1, not {images_per_shard}")
    with reading(options.model):
        if Path(options.model).is_file():
            options = replace(options, model=str(Path(options.model).absolute()))
    options = replace(options, threads=options.threads or 1)
    summary = run_predict_ray(
        options.load,
        sources,
        out,
        address=address,
        actors=actors,
        cpus=options.threads or 1,
        gpus=gpus,
        images_per_shard=images_per_shard,
        resume=resume,
    )
    print(f"{summary}; output in {out}")
    return summary.exit_code
