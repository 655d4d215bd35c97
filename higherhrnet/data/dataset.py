"""Annotation files → photographs with the keypoints of their people, and where the loss counts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from higherhrnet.arrays import Image
from higherhrnet.data import masks as regions
from higherhrnet.data.merge import merge_skeletons
from higherhrnet.data.packing import PackedAnnotations, pack_annotations
from higherhrnet.errors import InputError
from higherhrnet.io.coco import load_annotations
from higherhrnet.io.image_store import ImageStore, find_images
from higherhrnet.recipes import DataConfig
from higherhrnet.skeleton import CROWDPOSE, Skeleton, load_skeleton


@dataclass(frozen=True, eq=False)
class AnnotatedImage:
    """A picture and what is known of the P people in it."""

    name: str
    """Its file, for messages."""
    image: Image
    """(H, W, 3)."""
    keypoints: NDArray[np.float32]
    """(P, K, 3) x and y as annotated, so pixels count by their index; visibility 0, 1 or 2."""
    sizes: NDArray[np.float32]
    """(P,) the longer side of each person's box, pixels."""
    mask: NDArray[np.bool_] | None
    """(H, W) True where the loss counts; None: everywhere."""
    labeled: NDArray[np.bool_]
    """(K,) the keypoints that this picture's data set annotates."""
    outlines: tuple[bytes, ...] = ()
    """The region that each person covers, no bytes where only a box is known; empty if outlines
    were not asked for."""


class KeypointDataset:
    """A sequence of photographs, read when asked for; threads and processes may share it."""

    def __init__(
        self,
        skeleton: Skeleton,
        parts: Sequence[tuple[PackedAnnotations, ImageStore]],
        weights: Sequence[float],
    ) -> None:
        lengths = [len(packed) for packed, _ in parts]
        self.skeleton = skeleton
        self.names = [name for packed, _ in parts for name in packed.names]
        """The pictures' files, as their data sets name them."""
        self.weights = np.repeat(np.asarray(weights, np.float64), lengths)
        """(N,) how often an epoch shows each."""
        self._parts, self._starts = parts, np.cumsum([0, *lengths])

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[AnnotatedImage]:
        """One after the other."""
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> AnnotatedImage:
        """Reads one.

        Raises:
            InputError: the picture cannot be read, or is not of the size that it was annotated at.
            IndexError: there are not so many.
        """
        index = range(len(self))[index]
        number = int(np.searchsorted(self._starts, index, "right")) - 1
        (packed, pictures), i = self._parts[number], index - int(self._starts[number])
        name, (height, width) = packed.names[i], packed.shapes[i]
        image = pictures.read(name)
        if image.shape[:2] != (height, width):
            raise InputError(
                f"{pictures.location}/{name}: {image.shape[1]}×{image.shape[0]} pixels, but "
                f"annotated as {width}×{height}; higherhrnet check-data lists all such pictures"
            )
        mask = None
        if packed.masked and len(region := packed.masked[i]):
            mask = ~regions.decode(region.tobytes(), height, width)
        people = packed.keypoints[i], packed.sizes[i]
        return AnnotatedImage(name, image, *people, mask, packed.labeled, packed.outlines_in(i))


def load_dataset(config: DataConfig, outlines: bool = False) -> KeypointDataset:
    """The pictures to train on: those in which anyone is annotated, be it without keypoints.

    Args:
        config: `train`, `skeleton`, `mask` and `overfit` count here.
        outlines: keep the people's outlines too, by which they can be pasted elsewhere.

    Raises:
        InputError: an annotation file or its pictures cannot be found or understood, or have no
            keypoint of the skeleton.
    """
    if not config.train:
        raise InputError("nothing to train on: name annotation files")
    sources = [parse_source(text) for text in config.train][: 1 if config.overfit else None]
    loaded = [load_annotations(path) for path, _, _ in sources]
    given = load_skeleton(config.skeleton) if config.skeleton else None
    skeleton = given or merge_skeletons([one.skeleton for one in loaded])
    parts = []
    for one, (path, place, _) in zip(loaded, sources, strict=True):
        pictures = ImageStore(place or find_images(path))
        masked = config.mask and one.skeleton.names != CROWDPOSE.names
        chosen = one.subset(one.labeled_images[: config.overfit]) if config.overfit else one
        packed = pack_annotations(chosen, pictures, skeleton, masked=masked, outlines=outlines)
        parts.append((packed, pictures))
    return KeypointDataset(skeleton, parts, [weight for _, _, weight in sources])


def parse_source(text: str) -> tuple[Path, Path | None, float]:
    """ANNOTATIONS[,PICTURES[,WEIGHT]] as files and a weight, 1 if not said.

    Raises:
        InputError: it has another form, or the weight is not above 0.
    """
    annotations, pictures, weight, *rest = [*text.split(","), "", ""]
    try:
        factor = float(weight or 1)
    except ValueError:
        factor = 0
    if any(rest) or not factor > 0 or not isfinite(factor):
        raise InputError(f"{text}: must be ANNOTATIONS[,PICTURES[,WEIGHT]], with a WEIGHT above 0")
    return Path(annotations), Path(pictures) if pictures else None, factor
