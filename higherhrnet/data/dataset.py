"""Loads training data: images, the keypoints of the people in them, and masks of the loss."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path

import numpy as np

from higherhrnet.arrays import BoolArray, DoubleArray, FloatArray, Image
from higherhrnet.config.data import DataConfig
from higherhrnet.data.annotation_arrays import PackedAnnotations, pack_annotations
from higherhrnet.data.merge import merge_skeletons, unify_names
from higherhrnet.data.rle import decode_mask
from higherhrnet.errors import InputError, reading, require
from higherhrnet.io.datasets.coco import Annotations, load_annotations
from higherhrnet.io.datasets.image_folder import find_images
from higherhrnet.io.datasets.image_store import ImageStore
from higherhrnet.io.skeleton_files import load_skeleton
from higherhrnet.poses.skeleton import Skeleton
from higherhrnet.poses.skeletons import CROWDPOSE


@dataclass(frozen=True, eq=False)
class AnnotatedImage:
    """An image and the annotations of the P people in it."""

    name: str
    """The file name of the image, for messages."""
    image: Image
    """(H, W, 3) RGB."""
    keypoints: FloatArray
    """(P, K, 3) x and y as annotated, so that the center of the first pixel is at 0, and
    visibility: 0, 1 or 2."""
    sizes: FloatArray | DoubleArray
    """(P,) the longer side of the box of each person, in pixels."""
    areas: FloatArray
    """(P,) the annotated area of each person, in square pixels."""
    mask: BoolArray | None
    """(H, W) whether a pixel contributes to the loss; None if all do."""
    labeled: BoolArray
    """(K,) the keypoints that the dataset of the image annotates."""
    outlines: tuple[bytes, ...] = ()
    """The encoded mask of each person's pixels, empty if only a box is annotated; no masks at all
    if outlines are not loaded."""


class KeypointDataset:
    """A sequence of annotated images, which are read on access.

    It can be shared between threads and processes.

    Args:
        skeleton: the skeleton of the keypoints.
        parts: the annotations and the images of each dataset.
        weights: for each dataset, how often an epoch uses each of its images.
        notes: what was left out or assumed in the datasets, a line of text each.
    """

    def __init__(
        self,
        skeleton: Skeleton,
        parts: Sequence[tuple[PackedAnnotations, ImageStore]],
        weights: Sequence[float],
        notes: Sequence[str] = (),
    ) -> None:
        lengths = [len(packed) for packed, _ in parts]
        self.skeleton, self.notes = skeleton, notes
        self.names = [name for packed, _ in parts for name in packed.names]
        """The file names of the images, as in the annotations."""
        self.weights = np.repeat(np.asarray(weights, np.float64), lengths)
        """(N,) how often an epoch uses each image."""
        self._parts, self._starts = parts, np.cumsum([0, *lengths])

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[AnnotatedImage]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> AnnotatedImage:
        """Reads an image.

        Raises:
            InputError: the image cannot be read, or does not have its annotated size.
            IndexError: the index is out of range.
        """
        index = range(len(self))[index]
        part = int(np.searchsorted(self._starts, index, "right")) - 1
        (packed, images), i = self._parts[part], index - int(self._starts[part])
        name, (height, width) = packed.names[i], packed.shapes[i].tolist()
        image, mask = images.read(name, (height, width)), None
        if packed.ignored and len(ignored := packed.ignored[i]):
            mask = ~decode_mask(ignored.tobytes(), height, width)
        people = packed.keypoints[i], packed.sizes[i], packed.areas[i]
        return AnnotatedImage(name, image, *people, mask, packed.labeled, packed.outlines_in(i))


def load_dataset(
    config: DataConfig, outlines: bool = False, parsed: Sequence[Annotations] = ()
) -> KeypointDataset:
    """Loads the training datasets: all images in which people are annotated.

    Images whose people have no keypoints are included.

    Args:
        config: the fields `train`, `skeleton`, `mask` and `overfit` are used.
        outlines: whether to load the outlines of people, which `paste_people` needs.
        parsed: annotation files that have been parsed before, and so are not parsed again.

    Raises:
        InputError: an annotation file or its images cannot be found or read, or a dataset has no
            keypoint of the skeleton.
    """
    require(len(config.train) > 0, "there is no training data; name annotation files with --train")
    arguments = [parse_dataset_argument(text) for text in config.train]
    if config.overfit:
        arguments = arguments[:1]
    by_path = {dataset.path: dataset for dataset in parsed}
    datasets = [by_path.get(path) or load_annotations(path) for path, _, _ in arguments]
    chosen = load_skeleton(config.skeleton) if config.skeleton else None
    skeletons = unify_names([dataset.skeleton for dataset in datasets], chosen)
    skeleton = chosen or merge_skeletons(skeletons)
    datasets = [replace(d, skeleton=s) for d, s in zip(datasets, skeletons, strict=True)]
    parts = []
    for dataset, (path, location, _) in zip(datasets, arguments, strict=True):
        names = dataset.file_names
        images = ImageStore(location or find_images(path, names), names)
        with_ignored = config.mask and dataset.skeleton.names != CROWDPOSE.names
        if config.overfit:
            dataset = dataset.subset(dataset.labeled_images[: config.overfit])
        packed = pack_annotations(
            dataset, images, skeleton, with_ignored=with_ignored, with_outlines=outlines
        )
        images.contains(packed.names[0])  # if a search is needed, before workers copy the store
        parts.append((packed, images))
    notes = [f"{d.path}: {finding.summary()}" for d in datasets for finding in d.findings]
    return KeypointDataset(skeleton, parts, [weight for _, _, weight in arguments], notes)


def parse_dataset_argument(text: str) -> tuple[Path, Path | None, float]:
    """Parses a dataset given as ANNOTATIONS[,IMAGES[,WEIGHT]].

    Paths may contain commas: of all ways to split the text, that with existing paths is used.

    Returns:
        The annotation file, the folder or .zip file of the images if given, and the weight
        (default: 1).

    Raises:
        InputError: the text has another form, the weight is not above 0, or the text can be split
            into existing paths in several ways.
    """
    parts = text.split(",")
    ways = list(filter(None, (_dataset(parts, *cuts) for cuts in _cuts(len(parts)))))
    with reading(text):
        files = [way for way in ways if way[0].is_file()]
        complete = [way for way in files if way[1] is None or way[1].exists()]
    if len(complete) > 1:
        choices = "; ".join(f"{path} and {images or 'no images'}" for path, images, _ in complete)
        raise InputError(f"{text}: can be split into several existing paths: {choices}; rename one")
    plain = _dataset(parts, 1, 2) if len(parts) <= 3 else None
    if complete:
        return complete[0]
    if plain:
        return plain
    last = f",{parts[-1]}" if _is_number(parts[-1]) else None  # a weight, if it is a number
    if found := [way for way in files if not (last and str(way[1]).endswith(last))]:
        return found[0]
    raise InputError(
        f"{text}: must be ANNOTATIONS[,IMAGES[,WEIGHT]], with existing paths and a WEIGHT above 0"
    )


def _cuts(count: int) -> Iterator[tuple[int, int]]:
    """Yields the ways to divide parts: the ends of the annotations' and of the images' parts."""
    for i in range(1, count + 1):
        yield i, count  # no weight
        if i < count - 1:
            yield i, count - 1


def _dataset(parts: Sequence[str], i: int, j: int) -> tuple[Path, Path | None, float] | None:
    """Returns the dataset of parts that are divided before i and j; None if the weight is wrong."""
    images, weight_text = ",".join(parts[i:j]), ",".join(parts[j:]) or "1"
    if not (_is_number(weight_text) and isfinite(weight := float(weight_text)) and weight > 0):
        return None
    return Path(",".join(parts[:i])), Path(images) if images else None, weight


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
