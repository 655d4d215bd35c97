"""The report is one page without external resources and shows the metrics and the errors."""

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
from higherhrnet.io.datasets.coco import Annotations, load_annotations
from higherhrnet.poses.poses import Poses
from higherhrnet.synthetic.scenes import write_scenes
from tests.evaluation.cases import Results, random_case

EMPTY = {"meta", "img", "line", "polyline"}


class Page(HTMLParser):
    """Checks that tags are balanced, and collects the text, tags and images of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.open: list[str] = []
        self.images: list[str] = []
        self.tags: list[str] = []
        self.text = ""
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in EMPTY:
            self.open.append(tag)
        self.images += [value or "" for name, value in attrs if name == "src"]
        assert not {"href", "onload"} & {name for name, _ in attrs}

    def handle_endtag(self, tag: str) -> None:
        if tag not in EMPTY:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += f" {data}"


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Annotations, Path]:
    folder = tmp_path_factory.mktemp("scenes")
    return load_annotations(write_scenes(folder, 25, height=64, width=96)), folder / "images"


def shifted(annotations: Annotations, pixels: float) -> Results:
    """The ground truth, shifted to the right, without results in the last image."""
    results = []
    for image in annotations.images[:-1]:
        people = [p for p in annotations.people if p["image_id"] == image["id"]]
        poses = Poses.from_coco([p for p in people if p["num_keypoints"]])
        poses.keypoints[..., 0] += pixels
        results += poses.to_coco(image["id"], file_name=image["file_name"])
    return results


def test_page_with_images(scenes: tuple[Annotations, Path], tmp_path: Path) -> None:
    annotations, images = scenes
    results = shifted(annotations, 3)
    page = Page(write_report(tmp_path / "report", annotations, results, images, "A <b> & a title"))
    assert "script" not in page.tags and "link" not in page.tags and "http" not in page.source
    assert "A <b> & a title" in page.text and "<b>" not in page.source
    for metric in evaluate_results(annotations, results).values():
        assert f" {'–' if metric < 0 else format(metric, '.3f')}" in page.text
    assert page.tags.count("polyline") == 10
    assert 20 < len(page.images) <= 40 and len(set(page.images)) == len(page.images)
    for path in page.images:
        shape = cv2.imread(str(tmp_path / "report" / path)).shape  # type: ignore[union-attr]
        assert shape == (533, 800, 3)


def test_worst_image_is_first_and_its_ground_truth_is_drawn_in_place(
    scenes: tuple[Annotations, Path], tmp_path: Path
) -> None:
    annotations, images = scenes
    crowded = max(
        annotations.images, key=lambda i: sum(p["image_id"] == i["id"] for p in annotations.people)
    )
    results = [r for r in shifted(annotations, 0) if r["image_id"] != crowded["id"]]
    page = Page(write_report(tmp_path, annotations, results, images))
    assert re.findall(r"\d{12}\.png", page.source)[0] == crowded["file_name"]
    plain = cv2.imread(str(images / crowded["file_name"]))
    drawn, empty = (cv2.imread(str(tmp_path / path)) for path in page.images[:2])
    assert plain is not None and drawn is not None and empty is not None
    resized = cv2.resize(plain, (800, 533), interpolation=cv2.INTER_CUBIC).astype(int)
    assert np.abs(empty - resized).mean() < 4  # without results only JPEG changes the image
    changed = np.abs(drawn - resized).sum(-1) > 100
    for person in (p for p in annotations.people if p["image_id"] == crowded["id"]):
        for x, y, visible in np.reshape(person["keypoints"], (-1, 3)):
            if visible:
                row, column = int((y + 0.5) * 533 / 64), int((x + 0.5) * 800 / 96)
                assert changed[row - 5 : row + 6, column - 5 : column + 6].any()


def test_images_in_an_archive_and_without_images(
    scenes: tuple[Annotations, Path], tmp_path: Path
) -> None:
    annotations, images = scenes
    with ZipFile(tmp_path / "images.zip", "w") as archive:
        for image in annotations.images[1:]:
            archive.write(images / image["file_name"], image["file_name"])
    results = shifted(annotations, 4)
    packed = Page(write_report(tmp_path / "a", annotations, results, tmp_path / "images.zip"))
    named = Page(write_report(tmp_path / "b", annotations, results))
    assert named.images == [] and not (tmp_path / "b" / "worst").exists()
    assert len(packed.images) >= 38
    for image in annotations.images[-1:]:
        assert image["file_name"] in named.text


def test_unreadable_image_is_listed_with_the_reason(
    scenes: tuple[Annotations, Path], tmp_path: Path
) -> None:
    annotations, _ = scenes
    (tmp_path / "images").mkdir()
    page = Page(write_report(tmp_path / "report", annotations, [], tmp_path / "images"))
    assert page.images == []
    assert "No such file" in page.text


def read_bars(page: Page, title: str) -> dict[str, int]:
    """The numbers of a bar chart by name."""
    section = page.source.split(f"<h2>{title}</h2>")[1].split("</section>")[0]
    rows = re.findall(r'<th>(.*?)</th>\s*<td class="number">([\d,]+)</td>', section)
    return {unescape(name): int(count.replace(",", "")) for name, count in rows}


def test_errors_are_summed_over_all_images(
    scenes: tuple[Annotations, Path], tmp_path: Path
) -> None:
    annotations, _ = scenes
    results = shifted(annotations, 0)
    last = annotations.images[-1]["id"]
    missed = sum(p["image_id"] == last and p["num_keypoints"] > 0 for p in annotations.people)
    page = Page(write_report(tmp_path, annotations, [*results, results[0]]))
    people, kinds = read_bars(page, "People"), read_bars(page, "Results")
    assert missed > 0
    assert people["matched"] == annotations.num_people - missed and people["missed"] == missed
    assert kinds["matched"] == len(results) and kinds["duplicate"] == 1
    keypoints = read_bars(page, "Keypoints")
    labeled = sum(p["num_keypoints"] for p in annotations.people if p["image_id"] != last)
    assert keypoints["good"] == labeled and sum(keypoints.values()) == labeled


def test_names_are_escaped_and_missing_metrics_are_dashes(tmp_path: Path) -> None:
    content, _ = random_case(3, images=2)
    content["images"][0]["file_name"] = '<img src="x">.jpg'
    content["annotations"][0] |= {"image_id": content["images"][0]["id"], "num_keypoints": 1}
    (tmp_path / "annotations.json").write_text(json.dumps(content))
    page = Page(write_report(tmp_path, load_annotations(tmp_path / "annotations.json"), []))
    assert '<img src="x">.jpg' in page.text
    content["annotations"] = []
    (tmp_path / "annotations.json").write_text(json.dumps(content))
    page = Page(write_report(tmp_path, load_annotations(tmp_path / "annotations.json"), []))
    assert "nan" not in page.source.lower() and page.text.count("–") > 20


def test_unwritable_folder_is_an_error(scenes: tuple[Annotations, Path], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"file/index\.html: cannot be written"):
        write_report(tmp_path / "file", scenes[0], [])
