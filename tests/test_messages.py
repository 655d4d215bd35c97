"""Numbers with their nouns, and names with control characters in one line."""

import pytest

from higherhrnet.errors import InputError
from higherhrnet.messages import counted, one_line


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 images"), (1, "1 image"), (2, "2 images"), (2500, "2,500 images")]
)
def test_a_number_has_its_noun_in_the_singular_or_the_plural(number: int, text: str) -> None:
    assert counted(number, "image") == text


def test_the_plural_may_be_irregular() -> None:
    assert counted(1, "person", "people") == "1 person"
    assert counted(3, "person", "people") == "3 people"


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("a\nb\r.jpg", r"a\nb\r.jpg"),
        ("a\x1b[31m.jpg", r"a\x1b[31m.jpg"),
        ("a\u2028b\x85c", r"a\u2028b\x85c"),
        ("C:\\new\\été 人.jpg", "C:\\new\\été 人.jpg"),
    ],
)
def test_control_characters_are_escaped_and_others_are_kept(name: str, line: str) -> None:
    assert one_line(name) == line
    assert str(InputError(name)) == line
    assert len(str(InputError(name)).splitlines()) == 1
