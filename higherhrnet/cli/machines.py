"""Many machines: the flags of predict that have a Ray cluster do the work."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import arg

from higherhrnet.cli.look import InferenceOptions
from higherhrnet.errors import InputError, require

if TYPE_CHECKING:
    from higherhrnet.inference.run import Summary

_ADDRESS = re.compile(r"auto|local|[\w.\-]+:\d+")


@dataclass(frozen=True)
class Machines:
    """A Ray cluster that does the work."""

    ray: Annotated[tuple[str, ...] | None, arg(metavar="[ADDRESS]")] = None
    """Look at pictures with a Ray cluster: that at HOST:PORT, else the one that this machine is of,
    else one started here for this run. Folders and pictures may be on s3://, gs:// and others;
    people are written as Parquet, and nothing is drawn."""
    actors: Annotated[int | None, arg(metavar="INT")] = None
    """With --ray: how many processes find people; as many as the cluster has room for if not
    said. Each takes --threads CPUs, 1 if not said."""
    gpus: float = 0.0
    """With --ray: GPUs for each; 0.5 lets two share one."""
    per_file: int = 256
    """With --ray: images to a Parquet file; as many are done again where a machine died."""

    def predict(
        self, sources: tuple[str, ...], look: InferenceOptions, out: str, resume: bool
    ) -> Summary:
        """Has the cluster find the people of all pictures.

        Raises:
            InputError: Ray is not installed, a number makes no sense, or it cannot be done.
        """
        if find_spec("ray") is None or find_spec("pyarrow") is None:
            raise InputError('--ray needs Ray: pip install "higherhrnet[ray]"')
        from higherhrnet.ray.predict import predict_ray

        words = self.ray or ()
        client = any(word.startswith("ray://") for word in words)
        require(not client, "--ray ray://…: on a machine of the cluster say HOST:6379 instead")
        address = words[0] if words and _ADDRESS.fullmatch(words[0]) else None
        named = sources + words[address is not None :]
        require(len(named) > 0, "name a picture or folder to look at")
        counts = [1 if self.actors is None else self.actors, self.per_file]
        require(
            min(counts) > 0 <= self.gpus, "--actors and --per-file must be at least 1, --gpus 0"
        )
        model = str(Path(look.model).absolute()) if Path(look.model).is_file() else look.model
        look = replace(look, model=model, threads=look.threads or 1)
        return predict_ray(
            look.predictor,
            named,
            out,
            address=address,
            actors=self.actors,
            cpus=look.threads or 1,
            gpus=self.gpus,
            per_file=self.per_file,
            resume=resume,
        )
