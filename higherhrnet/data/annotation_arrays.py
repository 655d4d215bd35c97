"""Stores the annotations of a dataset in a few arrays.

These are small enough for a copy in every worker process: for the 64,115 images of people in COCO,
with 262,465 people, about 1 kB per image.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from higherhrnet.arrays import BoolArray, FloatArray
from higherhrnet.data.rle import encode_annotation, has_outline, merge_masks
from higherhrnet.errors import InputError
from higherhrnet.io.datasets.coco import Annotations, Entry
from higherhrnet.io.datasets.image_store import ImageStore, annotated_shape
from higherhrnet.poses.skeleton import Skeleton

Shape = tuple[int, int]
"""Height and width."""


class RaggedArray:
    """A sequence of arrays of different lengths, stored in one array."""

    def __init__(self, values: NDArray[Any], lengths: Sequence[int]) -> None:
        self.values = values
        self.starts = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])

    @classmethod
    def from_bytes(cls, items: Sequence[bytes]) -> Self:
        """Packs a sequence of bytes objects."""
        return cls(np.frombuffer(b"".join(items), np.uint8), [len(item) for item in items])

    def __getitem__(self, index: int) -> NDArray[Any]:
        return self.values[self.starts[index] : self.starts[index + 1]]


@dataclass(frozen=True, eq=False)
class PackedAnnotations:
    """The annotations of a dataset with N images."""

    names: list[str]
    """The file names of the images."""
    shapes: NDArray[np.int32]
    """(N, 2) annotated height and width of each image."""
    labeled: BoolArray
    """(K,) the keypoints that the dataset annotates."""
    keypoints: RaggedArray
    """For each image, (P, K, 3) x, y and visibility of the keypoints."""
    sizes: RaggedArray
    """For each image, (P,) the longer sides of the people's boxes."""
    areas: RaggedArray
    """For each image, (P,) the annotated areas of the people in square pixels."""
    ignored: RaggedArray | None
    """For each image, the encoded mask of the pixels that the loss ignores, empty if there are
    none; None if the loss ignores nothing."""
    outlines: RaggedArray | None
    """For each person of all images, the encoded mask of the person's pixels, empty if only a box
    is annotated; None if outlines are not loaded."""

    def __len__(self) -> int:
        return len(self.names)

    def outlines_in(self, image: int) -> tuple[bytes, ...]:
        """Returns the outlines of the people in an image; none if outlines are not loaded."""
        if self.outlines is None:
            return ()
        people = range(*self.sizes.starts[image : image + 2])
        return tuple(self.outlines[person].tobytes() for person in people)


def pack_annotations(
    annotations: Annotations,
    images: ImageStore,
    skeleton: Skeleton,
    *,
    with_ignored: bool,
    with_outlines: bool,
) -> PackedAnnotations:
    """Packs the annotations of the images in which people are annotated.

    Args:
        annotations: the annotations; their keypoints are matched with those of the skeleton by
            name.
        images: the images, which are read if the annotations do not contain their size.
        skeleton: the skeleton of the result.
        with_ignored: whether the loss ignores crowds and people without keypoints.
        with_outlines: whether to load the outlines of the people.

    Raises:
        InputError: the dataset has no annotated people or no keypoint of the skeleton, or an
            annotation is invalid.
    """
    entries, groups = _annotated_images(annotations)
    shapes = [_shape(entry, images) for entry in entries]
    used = [[p for p in people if p["num_keypoints"] or not p["iscrowd"]] for people in groups]
    keypoints, labeled = _keypoints(annotations, used, skeleton)
    sizes = np.array([max(p["bbox"][2:]) for people in used for p in people], np.float32)
    areas = np.array([p["area"] for people in used for p in people], np.float32)
    counts = [len(people) for people in used]
    try:
        return PackedAnnotations(
            [str(entry["file_name"]) for entry in entries],
            np.array(shapes, np.int32).reshape(-1, 2),
            labeled,
            RaggedArray(keypoints, counts),
            RaggedArray(sizes, counts),
            RaggedArray(areas, counts),
            _ignored_masks(groups, shapes) if with_ignored else None,
            _outlines(used, shapes) if with_outlines else None,
        )
    except InputError as error:
        raise InputError(f"{annotations.path}: {error}") from error


def _annotated_images(annotations: Annotations) -> tuple[list[Entry], list[list[Entry]]]:
    """Returns the images with annotations, and the annotations of each."""
    path, people = annotations.path, defaultdict(list)
    for person in annotations.people:
        people[person["image_id"]].append(person)
    images = [image for id_, image in annotations.images_by_id().items() if id_ in people]
    if not images:
        raise InputError(f"{path}: no people are annotated in its images")
    for image in images:
        if not image.get("file_name"):
            raise InputError(f"{path}: image {image['id']} has no file_name")
    return images, [people[image["id"]] for image in images]


def _shape(entry: Entry, images: ImageStore) -> Shape:
    """Returns the size of an image, which is read if its size is not annotated."""
    if shape := annotated_shape(entry):
        return shape
    height, width = images.read(str(entry["file_name"])).shape[:2]
    return height, width


def _keypoints(
    annotations: Annotations, groups: Sequence[Sequence[Entry]], skeleton: Skeleton
) -> tuple[FloatArray, BoolArray]:
    """Returns (P, K, 3) keypoints in the order of the skeleton, and (K,) which are annotated."""
    names = annotations.skeleton.names
    labeled = np.isin(skeleton.names, names)
    if not labeled.any():
        raise InputError(
            f"{annotations.path}: has no keypoint of the skeleton {skeleton.name}; its keypoints "
            f"are {', '.join(names)}"
        )
    triples = np.array([p["keypoints"] for people in groups for p in people], np.float32)
    triples = triples.reshape(-1, len(names), 3)
    keypoints = np.zeros((len(triples), len(skeleton), 3), np.float32)
    order = [names.index(name) for name in skeleton.names if name in names]
    keypoints[:, labeled] = triples[:, order]
    return keypoints, labeled


def _ignored_masks(groups: Sequence[Sequence[Entry]], shapes: Sequence[Shape]) -> RaggedArray:
    """Encodes the masks of the crowds and people without keypoints in each image."""
    masks = []
    for people, shape in zip(groups, shapes, strict=True):
        ignored = [p for p in people if p["iscrowd"] or not p["num_keypoints"]]
        masks.append(merge_masks([encode_annotation(p, *shape) for p in ignored], *shape))
    return RaggedArray.from_bytes(masks)


def _outlines(groups: Sequence[Sequence[Entry]], shapes: Sequence[Shape]) -> RaggedArray:
    """Encodes the mask of each person with keypoints and an outline; empty for the others."""
    masks = []
    for people, shape in zip(groups, shapes, strict=True):
        for person in people:
            usable = person["num_keypoints"] and has_outline(person)
            masks.append(encode_annotation(person, *shape) if usable else b"")
    return RaggedArray.from_bytes(masks)
