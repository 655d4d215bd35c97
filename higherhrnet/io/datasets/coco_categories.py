"""Reads the categories of a COCO keypoint file, and finds those of people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from higherhrnet.errors import InputError, require
from higherhrnet.io.datasets.coco_entries import Entry
from higherhrnet.io.json_values import identifier, sequence, text

_MAX_LISTED = 5


@dataclass(frozen=True)
class PeopleCategories:
    """The categories of a file, and those whose annotations are people."""

    main: Entry
    """The category of people: the one named `person`, or the first with keypoints."""
    ids: frozenset[int | str]
    """The IDs of `main` and of the categories with the same keypoints."""
    names: dict[int | str, str]
    """The name of each category, by its ID."""

    @property
    def merged(self) -> list[str]:
        """The names of the categories of people other than `main`."""
        return [self.names[id_] for id_ in self.names if id_ in self.ids - {self.main["id"]}]

    def listing(self) -> str:
        """Lists the IDs and names of the first categories, for an error message."""
        listed = [f"{id_}: {name}" for id_, name in self.names.items()]
        more = ["…"] if len(listed) > _MAX_LISTED else []
        return ", ".join(listed[:_MAX_LISTED] + more)


def read_categories(values: Sequence[Entry]) -> PeopleCategories:
    """Reads the categories of a file.

    Raises:
        InputError: a category is invalid, an ID is listed twice, or the file does not show which of
            its categories are people.
    """
    categories = [_read_category(value, index) for index, value in enumerate(values)]
    by_id: dict[int | str, Entry] = {}
    for category in categories:
        if by_id.setdefault(category["id"], category) != category:
            raise InputError(f"categories: the ID {category['id']} is listed twice")
    main = _main_category(list(by_id.values()))
    people = [c for c in by_id.values() if c["keypoints"] and c["keypoints"] == main["keypoints"]]
    return PeopleCategories(
        main,
        frozenset(category["id"] for category in (main, *people)),
        {id_: category["name"] for id_, category in by_id.items()},
    )


def _read_category(value: Any, index: int) -> Entry:  # noqa: ANN401 (JSON)
    require(isinstance(value, dict), f"categories: entry {index} is not an object")
    category = {key: item for key, item in value.items() if item is not None}
    id_ = identifier(category.get("id"), f"categories: entry {index}: id")
    name = text(category.get("name", id_), f"category {id_}: name")
    keypoints = sequence(category.get("keypoints"), f"category {name}: keypoints", "names")
    names = [text(item, f"category {name}: each of keypoints") for item in keypoints]
    return category | {"id": id_, "name": name, "keypoints": names}


def _main_category(categories: Sequence[Entry]) -> Entry:
    """Returns the category named `person`, or the only one with keypoints, or the only one."""
    candidates = [category for category in categories if category["keypoints"]] or categories
    named = [c for c in candidates if c["name"].strip().casefold() == "person"]
    people = named or candidates
    distinct = {tuple(category["keypoints"]) or category["id"] for category in people}
    if len(distinct) != 1:
        found = f" ({', '.join(c['name'] for c in people[:_MAX_LISTED])})" if people else ""
        raise InputError(
            f"categories: found {len(people)} categories of people{found} instead of one, or "
            "several with equal keypoints; if there are several, give one of them the name person"
        )
    return people[0]
