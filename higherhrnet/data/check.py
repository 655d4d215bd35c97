"""Checks datasets for problems that affect training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
from tqdm import tqdm

from higherhrnet.config.inference import DecodeConfig
from higherhrnet.data.check_geometry import ImagePerson, check_geometry, person_name
from higherhrnet.data.dataset import parse_dataset_argument
from higherhrnet.data.orientation import find_oriented_images
from higherhrnet.data.rle import encode_annotation
from higherhrnet.data.sides import find_swapped_sides
from higherhrnet.errors import InputError
from higherhrnet.hardware import usable_cores
from higherhrnet.io.atomic import atomic_path
from higherhrnet.io.datasets.coco import Annotations, Entry, read_annotations
from higherhrnet.io.datasets.coco_entries import image_name
from higherhrnet.io.datasets.image_folder import find_images
from higherhrnet.io.datasets.image_store import ImageStore
from higherhrnet.io.findings import Finding
from higherhrnet.messages import counted, one_line
from higherhrnet.poses.keypoint_names import describe_pairs
from higherhrnet.poses.skeleton import Skeleton

MAX_SWAPPED_FRACTION = 0.1
"""Fraction of people with possibly swapped left and right keypoints above which they are an error.
Below it, all of them may be false positives."""


def check_datasets(datasets: Sequence[str], out: Path | None = None) -> bool:
    """Checks datasets and prints the findings.

    Args:
        datasets: the datasets, each as ANNOTATIONS[,IMAGES].
        out: a folder for `findings.txt`, which lists every case (default: the file is not written).

    Returns:
        Whether there are no errors.

    Raises:
        InputError: an annotation file cannot be read, its images are not found, or the folder
            cannot be written to.
    """
    lines, valid = [], True
    for dataset in datasets:
        path, location, _ = parse_dataset_argument(dataset)
        annotations, invalid = read_annotations(path)
        names = annotations.file_names
        images = ImageStore(location or find_images(path, names), names)
        findings = sort_findings([*invalid, *check_dataset(annotations, images)])
        people = counted(annotations.num_people, "person", "people")
        print(f"{path}: {counted(len(annotations.images), 'image')}, {people} with keypoints")
        print(f"  flip pairs: {describe_pairs(annotations.skeleton.pairs)}")
        for finding in findings:
            print(f"  {finding.summary()}")
        valid &= not any(finding.is_error for finding in findings)
        lines += [f"{path}\t{f.plural}\t{one_line(c)}\n" for f in findings for c in f.cases]
    if out:
        with atomic_path(out / "findings.txt") as temporary:
            temporary.write_text("".join(lines), encoding="utf-8", errors="backslashreplace")
    return valid


def check_dataset(annotations: Annotations, images: ImageStore) -> list[Finding]:
    """Checks a dataset, and reads every image in which people are annotated.

    Returns:
        The findings, errors first.
    """
    entries = {image["id"]: image for image in annotations.images}
    people = [(entries[person["image_id"]], person) for person in annotations.people]
    annotated = {image["id"]: image for image, _ in people}
    return sort_findings(
        [
            *annotations.findings,
            *_check_number_of_people(annotations),
            *_check_images(list(annotated.values()), images),
            *_check_orientation(list(annotated.values()), images),
            *_check_ids(annotations),
            *_check_segmentations(people),
            *_check_keypoints(people, annotations.skeleton),
            *check_geometry(people, annotations.skeleton),
            *_count_people(people),
            _check_sides(annotations.skeleton),
            Finding(
                "image has no annotated people and is not used in training",
                "images have no annotated people and are not used in training",
                [image_name(image) for id_, image in entries.items() if id_ not in annotated],
                is_error=False,
            ),
        ]
    )


def sort_findings(findings: Sequence[Finding]) -> list[Finding]:
    """Returns the findings that have cases, errors first."""
    return sorted((f for f in findings if f.cases), key=lambda finding: not finding.is_error)


def _check_number_of_people(annotations: Annotations) -> list[Finding]:
    return [
        Finding(
            "dataset has no person with labeled keypoints",
            "datasets have no person with labeled keypoints",
            [] if annotations.num_people else [str(annotations.path)],
        )
    ]


def _check_images(entries: Sequence[Entry], images: ImageStore) -> list[Finding]:
    """Finds images that cannot be read or do not have their annotated size."""

    def check(entry: Entry) -> tuple[str | None, str | None]:
        """Returns an error of reading the image and a mismatch of its size, or None for either."""
        if not entry.get("file_name"):
            return f"{image_name(entry)} has no file_name", None
        try:
            height, width = images.read(str(entry["file_name"])).shape[:2]
        except InputError as error:
            return str(error), None
        annotated = entry.get("width") or width, entry.get("height") or height
        if annotated == (width, height):
            return None, None
        with suppress(InputError):  # rotated by its EXIF orientation, the image may have that size
            images.read(str(entry["file_name"]), annotated[::-1])
            return None, None
        return None, f"{image_name(entry)} is {width}×{height}, not {annotated[0]}×{annotated[1]}"

    problems: list[tuple[str | None, str | None]] = []
    with (
        ThreadPoolExecutor(usable_cores()) as pool,
        tqdm(total=len(entries), unit=" images", disable=None) as bar,
    ):
        for start in range(0, len(entries), 256):
            problems += pool.map(check, entries[start : start + 256])
            bar.update(len(problems) - bar.n)
    return [
        Finding(
            "image cannot be read",
            "images cannot be read",
            [unreadable for unreadable, _ in problems if unreadable],
        ),
        Finding(
            "image does not have its annotated size",
            "images do not have their annotated size",
            [resized for _, resized in problems if resized],
        ),
    ]


def _check_orientation(entries: Sequence[Entry], images: ImageStore) -> list[Finding]:
    """Counts images with an EXIF orientation, by the pixels that are used."""
    return [
        Finding(
            f"image has an EXIF orientation and is {case}",
            f"images have an EXIF orientation and are {case}",
            names,
            is_error=False,
        )
        for case, names in find_oriented_images(entries, images).items()
    ]


def _check_sides(skeleton: Skeleton) -> Finding:
    """Finds keypoints whose name has a side, but that a flip exchanges with no other keypoint."""
    return Finding(
        "keypoint has a side in its name, but no partner, so that a flip confuses left and right",
        "keypoints have a side in their names, but no partners, so that a flip confuses left and "
        "right; define flip_pairs",
        skeleton.unpaired_sides,
        is_error=False,
    )


def _check_ids(annotations: Annotations) -> list[Finding]:
    """Finds IDs and files that are used more than once."""
    files = {(image["id"], image.get("file_name")): image for image in annotations.images}
    return [
        Finding(
            "image ID is used more than once",
            "image IDs are used more than once",
            _repeated(annotations.images, "id"),
        ),
        Finding(
            "image file is listed more than once",
            "image files are listed more than once",
            _repeated(list(files.values()), "file_name"),
        ),
        Finding(
            "annotation ID is used more than once",
            "annotation IDs are used more than once",
            _repeated(annotations.people, "id"),
        ),
    ]


def _check_segmentations(people: Sequence[ImagePerson]) -> list[Finding]:
    """Finds invalid segmentations of crowds and of people without keypoints."""
    invalid = []
    for image, person in people:
        ignored = person["iscrowd"] or not person["num_keypoints"]
        if ignored and image.get("height") and image.get("width"):
            try:
                encode_annotation(person, int(image["height"]), int(image["width"]))
            except InputError as error:
                invalid.append(f"{image_name(image)}, {error}")
    return [Finding("segmentation is invalid", "segmentations are invalid", invalid)]


def _check_keypoints(people: Sequence[ImagePerson], skeleton: Skeleton) -> list[Finding]:
    """Finds keypoints outside their image, wrong numbers of keypoints, and swapped sides."""
    triples = np.array([person["keypoints"] for _, person in people], np.float32)
    triples = triples.reshape(len(people), len(skeleton), 3)
    sizes = [(image.get("width") or np.inf, image.get("height") or np.inf) for image, _ in people]
    positions, labeled = triples[..., :2], triples[..., 2] > 0
    beyond = (positions < 0) | (positions > np.array(sizes).reshape(-1, 1, 2))
    outside = [
        f"{person_name(people[p])}: {skeleton.names[k]} at "
        f"{positions[p, k, 0]:g}, {positions[p, k, 1]:g}"
        for p, k in np.argwhere(labeled & beyond.any(2)).tolist()
    ]
    counts = np.array([person["num_keypoints"] for _, person in people])
    miscounted = [
        f"{person_name(people[p])} has {counted(labeled[p].sum(), 'keypoint')}, not {counts[p]}"
        for p in np.flatnonzero(labeled.sum(1) != counts).tolist()
    ]
    swapped = [
        person_name(people[p])
        for p in np.flatnonzero(find_swapped_sides(triples, skeleton)).tolist()
    ]
    many = len(swapped) > MAX_SWAPPED_FRACTION * np.count_nonzero(labeled.any(1))
    return [
        Finding("keypoint is outside its image", "keypoints are outside their images", outside),
        Finding(
            "person has a wrong num_keypoints", "people have a wrong num_keypoints", miscounted
        ),
        Finding(
            "person may have left and right keypoints swapped",
            "people may have left and right keypoints swapped",
            swapped,
            is_error=bool(many),
        ),
    ]


def _count_people(people: Sequence[ImagePerson]) -> list[Finding]:
    """Finds people without keypoints, and images with many people."""
    ignored = [person_name(pair) for pair in people if not pair[1]["num_keypoints"]]
    counts = Counter(image_name(image) for image, person in people if person["num_keypoints"])
    maximum = DecodeConfig().max_people
    crowded = [f"{name} has {count}" for name, count in counts.items() if count > maximum]
    return [
        Finding(
            "person or crowd has no keypoints and is masked in training",
            "people or crowds have no keypoints and are masked in training",
            ignored,
            is_error=False,
        ),
        Finding(
            f"image has more than {maximum} people",
            f"images have more than {maximum} people",
            crowded,
            is_error=False,
        ),
    ]


def _repeated(entries: Sequence[Entry], key: str) -> list[str]:
    counts = Counter(str(entry[key]) for entry in entries if key in entry)
    return [f"{value} ({count} times)" for value, count in counts.items() if count > 1]
