"""The shards of a run: groups of images that actors process one after another."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, groupby, islice
from types import MappingProxyType
from typing import Any

from higherhrnet.errors import InputError
from higherhrnet.ray.paths import locate
from higherhrnet.ray.tables import completed_images

Row = dict[str, Any]
"""A row of a Ray dataset."""


@dataclass(frozen=True)
class Shard:
    """Images of one filesystem."""

    source: str
    """The source from which the images were listed."""
    paths: list[str]
    """The paths within the source's filesystem."""

    @property
    def names(self) -> list[str]:
        """The paths or URIs of the images."""
        scheme = locate(self.source).scheme
        return [scheme + path for path in self.paths]


def list_shards(sources: Sequence[str], out: str, images_per_shard: int) -> Iterator[Shard]:
    """Lists all images without a result in the output folder.

    Raises:
        InputError: a folder cannot be listed.
        OSError: the output folder cannot be read.
    """
    completed = completed_images(locate(out))
    for _, group in groupby(sources, lambda uri: locate(uri).filesystem):
        uris = list(group)
        scheme = locate(uris[0]).scheme
        paths = chain.from_iterable(locate(uri).images() for uri in uris)
        remaining = (path for path in paths if scheme + path not in completed)
        while batch := list(islice(remaining, images_per_shard)):
            yield Shard(uris[0], batch)


def shard_rows(task: Row) -> Iterator[Row]:
    """Yields the rows of a Ray dataset for all shards of a pass, and one last row without a shard.

    The last row has a result instead, which contains the number of shards or an error.

    Args:
        task: the arguments of `list_shards`.
    """
    count = 0
    try:
        for shard in list_shards(**task):
            count += 1
            yield {"source": shard.source, "paths": shard.paths, "result": None}
        last = shard_result(num_shards=count)
    except (InputError, OSError) as error:
        last = shard_result(error=str(error).partition("\n")[0])
    yield {"source": None, "paths": None, "result": json.dumps(last)}


def shard_result(
    images: int = 0,
    failed: Mapping[str, str] = MappingProxyType({}),
    error: str = "",
    num_shards: int | None = None,
) -> Row:
    """Creates a row with the result of a shard, or with the number of shards of a pass.

    Args:
        images: the number of images that were processed.
        failed: the reasons why images failed, by path or URI.
        error: why the run cannot continue; several lines if it is a bug.
        num_shards: the number of shards of the pass; None in the result of a shard.
    """
    messages = [f"{name}: {reason}" for name, reason in failed.items()]
    return {"images": images, "failed": messages, "error": error, "num_shards": num_shards}
