"""The report is one page that opens by itself and says what the numbers say."""

import json
import re
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from zipfile import ZipFile

import cv2
import numpy as np
import pytest

from higherhrnet.errors import InputError
from higherhrnet.evaluation.metrics import evaluate_results
from higherhrnet.evaluation.report import write_report
from higherhrnet.io.coco import Annotations, load_annotations
from higherhrnet.poses import Poses
from higherhrnet.synthetic.scenes import write_scenes
from tests.evaluation.cases import Results, random_case

EMPTY = {"meta", "img", "line", "polyline"}


class Page(HTMLParser):
    """Checks that tags close in turn, and gathers what a reader and a browser see."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.open: list[str] = []
        self.pictures: list[str] = []
        self.tags: list[str] = []
        self.words = ""
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in EMPTY:
            self.open.append(tag)
        self.pictures += [value or "" for name, value in attrs if name == "src"]
        assert not {"href", "onload"} & {name for name, _ in attrs}

    def handle_endtag(self, tag: str) -> None:
        if tag not in EMPTY:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += f" {data}"


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Annotations, Path]:
    folder = tmp_path_factory.mktemp("scenes")
    return load_annotations(write_scenes(folder, 25, height=64, width=96)), folder / "images"


def shifted(truth: Annotations, pixels: float) -> Results:
    """The truth, moved to the right, but nobody in the last image."""
    results = []
    for image in truth.images[:-1]:
        here = [p for p in truth.people if p["image_id"] == image["id"] and p["num_keypoints"]]
        poses = Poses.from_coco(here)
        poses.keypoints[..., 0] += pixels
        results += poses.to_coco(image["id"], file_name=image["file_name"])
    return results


def test_a_page_with_pictures(scenes: tuple[Annotations, Path], tmp_path: Path) -> None:
    truth, pictures = scenes
    results = shifted(truth, 3)
    page = Page(write_report(tmp_path / "report", truth, results, pictures, "A <b> & a title"))
    assert "script" not in page.tags and "link" not in page.tags and "http" not in page.source
    assert "A <b> & a title" in page.words and "<b>" not in page.source
    for figure in evaluate_results(truth, results).values():
        assert f" {'–' if figure < 0 else format(figure, '.3f')}" in page.words
    assert page.tags.count("polyline") == 10
    assert 20 < len(page.pictures) <= 40 and len(set(page.pictures)) == len(page.pictures)
    for address in page.pictures:
        shape = cv2.imread(str(tmp_path / "report" / address)).shape  # type: ignore[union-attr]
        assert shape == (533, 800, 3)


def test_the_worst_photograph_comes_first_with_the_truth_drawn_at_its_place(
    scenes: tuple[Annotations, Path], tmp_path: Path
) -> None:
    truth, pictures = scenes
    crowded = max(truth.images, key=lambda i: sum(p["image_id"] == i["id"] for p in truth.people))
    results = [r for r in shifted(truth, 0) if r["image_id"] != crowded["id"]]
    page = Page(write_report(tmp_path, truth, results, pictures))
    assert page.source.index(crowded["file_name"]) == page.source.index("0000")
    plain = cv2.imread(str(pictures / crowded["file_name"]))
    drawn, empty = (cv2.imread(str(tmp_path / address)) for address in page.pictures[:2])
    assert plain is not None and drawn is not None and empty is not None
    same = cv2.resize(plain, (800, 533), interpolation=cv2.INTER_CUBIC).astype(int)
    assert np.abs(empty - same).mean() < 4  # nobody was found; JPEG alone differs
    changed = np.abs(drawn - same).sum(-1) > 100
    for person in (p for p in truth.people if p["image_id"] == crowded["id"]):
        for x, y, visible in np.reshape(person["keypoints"], (-1, 3)):
            if visible:
                row, column = int((y + 0.5) * 533 / 64), int((x + 0.5) * 800 / 96)
                assert changed[row - 5 : row + 6, column - 5 : column + 6].any()


def test_pictures_come_from_an_archive_or_not_at_all(
    scenes: tuple[Annotations, Path], tmp_path: Path
) -> None:
    truth, pictures = scenes
    with ZipFile(tmp_path / "images.zip", "w") as archive:
        for image in truth.images[1:]:
            archive.write(pictures / image["file_name"], image["file_name"])
    results = shifted(truth, 4)
    packed = Page(write_report(tmp_path / "a", truth, results, tmp_path / "images.zip"))
    named = Page(write_report(tmp_path / "b", truth, results))
    assert named.pictures == [] and not (tmp_path / "b" / "worst").exists()
    assert len(packed.pictures) >= 38
    for image in truth.images[-1:]:
        assert image["file_name"] in named.words


def test_a_photograph_that_cannot_be_read_is_named(
    scenes: tuple[Annotations, Path], tmp_path: Path
) -> None:
    truth, _ = scenes
    (tmp_path / "images").mkdir()
    page = Page(write_report(tmp_path / "report", truth, [], tmp_path / "images"))
    assert page.pictures == []
    assert "No such file" in page.words


def counted(page: Page, title: str) -> dict[str, int]:
    """The rows of a part of the page, by their names."""
    part = page.source.split(f"<h2>{title}</h2>")[1].split("</section>")[0]
    rows = re.findall(r'<th>(.*?)</th><td class="number">([\d,]+)</td>', part)
    return {unescape(name): int(count.replace(",", "")) for name, count in rows}


def test_kinds_of_mistakes_are_counted_over_all_images(
    scenes: tuple[Annotations, Path], tmp_path: Path
) -> None:
    truth, _ = scenes
    results = shifted(truth, 0)
    last = truth.images[-1]["id"]
    missed = sum(p["image_id"] == last and p["num_keypoints"] > 0 for p in truth.people)
    page = Page(write_report(tmp_path, truth, [*results, results[0]]))
    people, kinds = counted(page, "People"), counted(page, "Results")
    assert missed > 0
    assert people["found"] == truth.num_people - missed and people["missed"] == missed
    assert kinds["a person's own"] == len(results) and kinds["duplicate"] == 1
    keypoints = counted(page, "Keypoints")
    labeled = sum(p["num_keypoints"] for p in truth.people if p["image_id"] != last)
    assert keypoints["good"] == labeled and sum(keypoints.values()) == labeled


def test_names_are_escaped_and_nothing_to_show_is_a_dash(tmp_path: Path) -> None:
    content, _ = random_case(3, images=2)
    content["images"][0]["file_name"] = '<img src="x">.jpg'
    content["annotations"][0] |= {"image_id": content["images"][0]["id"], "num_keypoints": 1}
    (tmp_path / "truth.json").write_text(json.dumps(content))
    page = Page(write_report(tmp_path, load_annotations(tmp_path / "truth.json"), []))
    assert '<img src="x">.jpg' in page.words
    content["annotations"] = []
    (tmp_path / "truth.json").write_text(json.dumps(content))
    page = Page(write_report(tmp_path, load_annotations(tmp_path / "truth.json"), []))
    assert "nan" not in page.source.lower() and page.words.count("–") > 20


def test_a_place_that_cannot_be_written_is_named(
    scenes: tuple[Annotations, Path], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"file/index\.html: cannot be written"):
        write_report(tmp_path / "file", scenes[0], [])
