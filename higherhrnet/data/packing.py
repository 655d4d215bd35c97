"""One annotation file → a few arrays, small enough for every worker process to have them.

COCO's 64,115 pictures of people take about 1 kB each, nearly all of it their 262,465 people.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from higherhrnet.data import masks as regions
from higherhrnet.errors import InputError
from higherhrnet.io.coco import Annotations, Entry
from higherhrnet.io.image_store import ImageStore
from higherhrnet.skeleton import Skeleton

Shape = tuple[int, int]
"""Height and width."""


class Ragged:
    """Lists of differing lengths in one array; `[i]` is the i-th."""

    def __init__(self, values: NDArray[Any], lengths: Sequence[int]) -> None:
        self.values = values
        self.starts = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])

    @classmethod
    def of_bytes(cls, items: Sequence[bytes]) -> Self:
        """A list of bytes."""
        return cls(np.frombuffer(b"".join(items), np.uint8), [len(item) for item in items])

    def __getitem__(self, index: int) -> NDArray[Any]:
        return self.values[self.starts[index] : self.starts[index + 1]]


@dataclass(frozen=True, eq=False)
class PackedAnnotations:
    """One data set: N images with P people in all."""

    names: list[str]
    """The images' files."""
    shapes: NDArray[np.int32]
    """(N, 2) height and width as annotated."""
    labeled: NDArray[np.bool_]
    """(K,) the keypoints that are annotated at all."""
    keypoints: Ragged
    """(P, K, 3) by image."""
    sizes: Ragged
    """(P,) the longer sides of the people's boxes, by image."""
    masked: Ragged | None
    """N regions where the loss does not count, no bytes where it does everywhere."""
    outlines: Ragged | None
    """P regions that the people cover, no bytes where that is not known."""

    def __len__(self) -> int:
        return len(self.names)

    def outlines_in(self, image: int) -> tuple[bytes, ...]:
        """Those of an image's people; none if outlines were not asked for."""
        if self.outlines is None:
            return ()
        people = range(*self.sizes.starts[image : image + 2])
        return tuple(self.outlines[person].tobytes() for person in people)


def pack_annotations(
    annotations: Annotations,
    pictures: ImageStore,
    skeleton: Skeleton,
    *,
    masked: bool,
    outlines: bool,
) -> PackedAnnotations:
    """The images with annotations, and the people in them.

    Args:
        annotations: may have another skeleton; keypoints are the same where their names are.
        pictures: are looked into where the annotations do not say how large they are.
        skeleton: the keypoints that are wanted.
        masked: find out where the loss should not count.
        outlines: keep the people's.

    Raises:
        InputError: nothing of this can be learnt from, or a segmentation makes no sense.
    """
    images, groups = _annotated(annotations)
    shapes = [_shape(image, pictures) for image in images]
    used = [[p for p in people if p["num_keypoints"] or not p["iscrowd"]] for people in groups]
    keypoints, labeled = _keypoints(annotations, used, skeleton)
    sizes = np.array([max(p["bbox"][2:]) for people in used for p in people], np.float32)
    counts = [len(people) for people in used]
    try:
        return PackedAnnotations(
            [str(image["file_name"]) for image in images],
            np.array(shapes, np.int32).reshape(-1, 2),
            labeled,
            Ragged(keypoints, counts),
            Ragged(sizes, counts),
            _masked(groups, shapes) if masked else None,
            _outlines(used, shapes) if outlines else None,
        )
    except InputError as error:
        raise InputError(f"{annotations.path}: {error}") from error


def _annotated(annotations: Annotations) -> tuple[list[Entry], list[list[Entry]]]:
    """The images, and the annotations of each."""
    path, people = annotations.path, defaultdict(list)
    for person in annotations.people:
        people[str(person["image_id"])].append(person)
    images = [image for image in annotations.images if str(image["id"]) in people]
    if not images:
        raise InputError(f"{path}: nobody is annotated in any of its images")
    if nameless := [image["id"] for image in images if not image.get("file_name")]:
        raise InputError(f"{path}: image {nameless[0]} has no file_name")
    return images, [people[str(image["id"])] for image in images]


def _shape(image: Entry, pictures: ImageStore) -> Shape:
    if image.get("height") and image.get("width"):
        return int(image["height"]), int(image["width"])
    height, width = pictures.read(str(image["file_name"])).shape[:2]
    return height, width


def _keypoints(
    annotations: Annotations, groups: Sequence[Sequence[Entry]], skeleton: Skeleton
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """(P, K, 3) the people's, in the order of the skeleton, and (K,) which of them are labelled."""
    own = annotations.skeleton.names
    labeled = np.isin(skeleton.names, own)
    if not labeled.any():
        raise InputError(
            f"{annotations.path}: has no keypoint of the skeleton {skeleton.name}, but "
            f"{', '.join(own)}"
        )
    triples = np.array([p["keypoints"] for people in groups for p in people], np.float32)
    triples = triples.reshape(-1, len(own), 3)
    keypoints = np.zeros((len(triples), len(skeleton), 3), np.float32)
    keypoints[:, labeled] = triples[:, [own.index(name) for name in skeleton.names if name in own]]
    return keypoints, labeled


def _masked(groups: Sequence[Sequence[Entry]], shapes: Sequence[Shape]) -> Ragged:
    """Of each image, its crowds and the people without keypoints."""
    found = []
    for people, shape in zip(groups, shapes, strict=True):
        silent = [p for p in people if p["iscrowd"] or not p["num_keypoints"]]
        found.append(regions.union([regions.encode(p, *shape) for p in silent], *shape))
    return Ragged.of_bytes(found)


def _outlines(groups: Sequence[Sequence[Entry]], shapes: Sequence[Shape]) -> Ragged:
    """Of each person with keypoints, what it covers, where more than a box is known."""
    found = []
    for people, shape in zip(groups, shapes, strict=True):
        for person in people:
            known = person["num_keypoints"] and regions.is_outline(person)
            found.append(regions.encode(person, *shape) if known else b"")
    return Ragged.of_bytes(found)
