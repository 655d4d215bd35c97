"""What training would trip over in a data set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from higherhrnet.config import DecodeConfig
from higherhrnet.data import masks as regions
from higherhrnet.data.dataset import parse_source
from higherhrnet.data.sides import find_swapped_sides
from higherhrnet.errors import InputError
from higherhrnet.hardware import usable_cores
from higherhrnet.io.atomic import atomic_path
from higherhrnet.io.coco import Annotations, Entry, load_annotations
from higherhrnet.io.image_store import ImageStore, find_images
from higherhrnet.skeleton import Skeleton

Person = tuple[Entry, Entry]
"""An image and one of its annotations."""

MANY_SWAPPED = 0.1
"""Share of the people whose left and right look swapped from which it is no coincidence."""


@dataclass(frozen=True)
class Finding:
    """One kind of thing that was found."""

    what: str
    where: list[str]
    """Each case."""
    serious: bool = True
    """Something is wrong; False: it may well be meant so."""

    def summary(self, cases: int = 3) -> str:
        """One line, with the first cases."""
        more = [f"and {len(self.where) - cases:,} more"] if len(self.where) > cases else []
        listed = "; ".join([*self.where[:cases], *more])
        return f"{'wrong' if self.serious else 'note'}: {self.what}: {len(self.where):,} ({listed})"


def check_datasets(sources: Sequence[str], out: Path | None = None) -> bool:
    """Check data sets and print what is found; whether there is nothing serious.

    Args:
        sources: ANNOTATIONS[,PICTURES] each.
        out: a folder for `findings.txt`, which has each case.

    Raises:
        InputError: an annotation file is not one, its pictures are nowhere, or the folder cannot
            be written to.
    """
    lines, sound = [], True
    for source in sources:
        path, place, _ = parse_source(source)
        annotations = load_annotations(path)
        findings = check_dataset(annotations, ImageStore(place or find_images(path)))
        counts = f"{len(annotations.images):,} images, {annotations.num_people:,} people"
        print(f"{path}: {counts} with keypoints")
        for finding in findings:
            print(f"  {finding.summary()}")
        sound &= not any(finding.serious for finding in findings)
        lines += [f"{path}\t{f.what}\t{case}\n" for f in findings for case in f.where]
    if out:
        with atomic_path(out / "findings.txt") as beside:
            beside.write_text("".join(lines), encoding="utf-8")
    return sound


def check_dataset(annotations: Annotations, pictures: ImageStore) -> list[Finding]:
    """All that is found, the serious first; reads every picture in which anyone is annotated."""
    images: dict[str, Entry] = {str(image["id"]): image for image in annotations.images}
    listed = [(images.get(str(person["image_id"])), person) for person in annotations.people]
    known = [(image, person) for image, person in listed if image is not None]
    lost = [f"{_named(person)} of image {person['image_id']}" for i, person in listed if i is None]
    shown = {str(image["id"]): image for image, _ in known}
    empty = [_file(image) for id_, image in images.items() if id_ not in shown]
    findings = [
        *_pictures(list(shown.values()), pictures),
        Finding("image ids used more than once", _repeated(annotations.images)),
        Finding("annotation ids used more than once", _repeated(annotations.people)),
        Finding("annotations of images that are not listed", lost),
        *_segmentations(known),
        *_keypoints(known, annotations.skeleton),
        *_people(known),
        Finding("images with nobody annotated, so left out", empty, False),
    ]
    return sorted((f for f in findings if f.where), key=lambda finding: not finding.serious)


def _pictures(images: Sequence[Entry], pictures: ImageStore) -> list[Finding]:
    """Of images, those that are not to be had, and those of another size; read in threads."""

    def look(image: Entry) -> tuple[bool, str] | None:
        if not image.get("file_name"):
            return False, f"{_file(image)} has no file_name"
        try:
            height, width = pictures.read(str(image["file_name"])).shape[:2]
        except InputError as error:
            return False, str(error)
        said = image.get("width") or width, image.get("height") or height
        if said == (width, height):
            return None
        return True, f"{_file(image)} is {width}×{height}, not {said[0]}×{said[1]}"

    found: list[tuple[bool, str] | None] = []
    with (
        ThreadPoolExecutor(usable_cores()) as pool,
        tqdm(total=len(images), unit=" images", disable=None) as bar,
    ):
        for start in range(0, len(images), 256):
            found += pool.map(look, images[start : start + 256])
            bar.update(len(found) - bar.n)
    unreadable, resized = (
        [fault[1] for fault in found if fault and fault[0] is readable]
        for readable in (False, True)
    )
    return [
        Finding("pictures that cannot be read", unreadable),
        Finding("pictures of another size than annotated", resized),
    ]


def _segmentations(people: Sequence[Person]) -> list[Finding]:
    """Regions to mask that make no sense, where the image's size is known."""
    failed = []
    for image, person in people:
        silent = person["iscrowd"] or not person["num_keypoints"]
        if silent and image.get("height") and image.get("width"):
            try:
                regions.encode(person, int(image["height"]), int(image["width"]))
            except InputError as error:
                failed.append(f"{_file(image)}, {error}")
    return [Finding("regions to mask that make no sense", failed)]


def _keypoints(people: Sequence[Person], skeleton: Skeleton) -> list[Finding]:
    """Keypoints outside their picture, counted wrongly, or on the wrong side of the body."""
    triples = np.array([person["keypoints"] for _, person in people], np.float32)
    triples = triples.reshape(len(people), len(skeleton), 3)
    sizes = [(image.get("width") or np.inf, image.get("height") or np.inf) for image, _ in people]
    seen, places = triples[..., 2] > 0, triples[..., :2]
    beyond = (places < 0) | (places > np.array(sizes).reshape(-1, 1, 2))
    outside = [
        f"{_where(people[p])}: {skeleton.names[k]} at {places[p, k, 0]:g}, {places[p, k, 1]:g}"
        for p, k in np.argwhere(seen & beyond.any(2)).tolist()
    ]
    counts = np.array([person["num_keypoints"] for _, person in people])
    miscounted = [
        f"{_where(people[p])} says {counts[p]}, not {seen[p].sum()}"
        for p in np.flatnonzero(seen.sum(1) != counts).tolist()
    ]
    swapped = [
        _where(people[p]) for p in np.flatnonzero(find_swapped_sides(triples, skeleton)).tolist()
    ]
    many = len(swapped) > MANY_SWAPPED * np.count_nonzero(seen.any(1))
    return [
        Finding("keypoints outside their picture", outside),
        Finding("people with another number of keypoints than they say", miscounted),
        Finding("people whose left and right may be swapped", swapped, bool(many)),
    ]


def _people(people: Sequence[Person]) -> list[Finding]:
    """What is out of the ordinary, but no fault: people who are masked, and crowded images."""
    silent = [_where(pair) for pair in people if not pair[1]["num_keypoints"]]
    posed = Counter(_file(image) for image, person in people if person["num_keypoints"])
    most = DecodeConfig().max_people
    crowded = [f"{file} has {count}" for file, count in posed.items() if count > most]
    return [
        Finding("people or crowds without keypoints, so masked", silent, False),
        Finding(f"images of more than {most} people", crowded, False),
    ]


def _repeated(entries: Sequence[Entry]) -> list[str]:
    counts = Counter(str(entry["id"]) for entry in entries if "id" in entry)
    return [f"{id_} ({count} times)" for id_, count in counts.items() if count > 1]


def _file(image: Entry) -> str:
    return str(image.get("file_name") or f"image {image['id']}")


def _named(person: Entry) -> str:
    return f"annotation {person.get('id', 'without id')}"


def _where(pair: Person) -> str:
    return f"{_file(pair[0])}, {_named(pair[1])}"
