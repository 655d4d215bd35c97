"""Loaded datasets against the content of their annotation files."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PillowImage
from pycocotools.coco import COCO as PycocotoolsCOCO

from higherhrnet.arrays import FloatArray
from higherhrnet.config.data import DataConfig
from higherhrnet.data.dataset import KeypointDataset, load_dataset, parse_dataset_argument
from higherhrnet.data.rle import decode_mask
from higherhrnet.errors import InputError
from higherhrnet.poses.skeleton import Skeleton
from higherhrnet.poses.skeletons import COCO, CROWDPOSE
from higherhrnet.synthetic.scenes import write_scenes

Content = dict[str, Any]
BODY = Skeleton("body", tuple(reversed(COCO.names[5:])), (), (0.07,) * 12)
"""COCO without the face, in reverse order."""


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scenes; the third has only a crowd, and the fourth a person without keypoints."""
    path = write_scenes(
        tmp_path_factory.mktemp("scenes"), 8, height=72, width=96, people=(1, 4), crowd=0.5
    )

    def change(content: Content) -> None:
        groups = people_by_image(content)
        for person in groups[3]:
            person |= {"iscrowd": 1, "num_keypoints": 0, "keypoints": [0] * 51}
        groups[4][0] |= {"num_keypoints": 0, "keypoints": [0] * 51}
        del groups[4][0]["segmentation"]
        people = [person for group in groups.values() for person in group]
        assert any(p["iscrowd"] and isinstance(p["segmentation"], dict) for p in people)

    return write_changed(path, change, path)


def people_by_image(content: Content) -> dict[Any, list[Content]]:
    groups: dict[Any, list[Content]] = {image["id"]: [] for image in content["images"]}
    for annotation in content["annotations"]:
        groups[annotation["image_id"]].append(annotation)
    return groups


def write_changed(source: Path, change: Callable[[Content], None], target: Path) -> Path:
    """Writes a changed copy of an annotation file."""
    content = json.loads(source.read_text(encoding="utf-8"))
    change(content)
    target.write_text(json.dumps(content), encoding="utf-8")
    return target


def load(*train: object, outlines: bool = False, **config: Any) -> KeypointDataset:  # noqa: ANN401
    return load_dataset(DataConfig(tuple(map(str, train)), **config), outlines)


def keypoints_of(people: list[Content]) -> FloatArray:
    return np.array([p["keypoints"] for p in people], np.float32).reshape(-1, 17, 3)


def test_images_have_the_annotations_of_the_file(scenes: Path) -> None:
    content, dataset = json.loads(scenes.read_text(encoding="utf-8")), load(scenes)
    groups = people_by_image(content)
    assert dataset.skeleton is COCO
    assert len(dataset) == len(dataset.names) == 8
    assert dataset.weights.tolist() == [1] * 8
    for entry, annotated in zip(content["images"], dataset, strict=True):
        used = [p for p in groups[entry["id"]] if not p["iscrowd"] or p["num_keypoints"]]
        assert annotated.name == entry["file_name"]
        pixels = PillowImage.open(scenes.parent / "images" / annotated.name)
        np.testing.assert_array_equal(annotated.image, np.asarray(pixels))
        np.testing.assert_array_equal(annotated.keypoints, keypoints_of(used))
        np.testing.assert_allclose(annotated.sizes, [max(p["bbox"][2:]) for p in used])
        assert annotated.keypoints.dtype == annotated.sizes.dtype == np.float32
        assert annotated.labeled.all()
        assert annotated.outlines == ()
    assert len(dataset[2].keypoints) == 0
    assert (dataset[3].keypoints[0] == 0).all()
    with pytest.raises(IndexError):
        dataset[8]
    assert dataset[-1].name == dataset.names[7]


def test_masks_exclude_crowds_and_people_without_keypoints(
    scenes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    coco, content = PycocotoolsCOCO(str(scenes)), json.loads(scenes.read_text(encoding="utf-8"))
    capsys.readouterr()
    for entry, annotated in zip(content["images"], load(scenes), strict=True):
        expected = np.ones((72, 96), np.bool_)
        for person in people_by_image(content)[entry["id"]]:
            if person["iscrowd"] or not person["num_keypoints"]:
                if "segmentation" in person:
                    expected &= coco.annToMask(person) == 0
                else:
                    x, y, width, height = map(int, person["bbox"])
                    expected[y : y + height, x : x + width] = False
        if expected.all():
            assert annotated.mask is None
        else:
            assert annotated.mask is not None
            np.testing.assert_array_equal(annotated.mask, expected)
    assert [annotated.mask for annotated in load(scenes, mask=False)] == [None] * 8


def test_crowdpose_has_no_masks(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"height": 64, "width": 64, "crowd": 1.0}
    crowdpose = load(write_scenes(tmp_path, 3, skeleton=CROWDPOSE, **settings))
    assert crowdpose.skeleton is CROWDPOSE
    assert [annotated.mask for annotated in crowdpose] == [None] * 3
    coco = load(write_scenes(tmp_path, 3, **settings))
    assert all(annotated.mask is not None for annotated in coco)


def test_loads_outlines_of_people_with_keypoints(
    scenes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    coco, content = PycocotoolsCOCO(str(scenes)), json.loads(scenes.read_text(encoding="utf-8"))
    capsys.readouterr()
    for entry, annotated in zip(content["images"], load(scenes, outlines=True), strict=True):
        used = [p for p in people_by_image(content)[entry["id"]] if not p["iscrowd"]]
        assert len(annotated.outlines) == len(used) == len(annotated.keypoints)
        for person, outline in zip(used, annotated.outlines, strict=True):
            assert bool(outline) == bool(person["num_keypoints"])
            if outline:
                np.testing.assert_array_equal(decode_mask(outline, 72, 96), coco.annToMask(person))


def test_merges_datasets_by_the_names_of_their_keypoints(scenes: Path) -> None:
    def without_face(content: Content) -> None:
        content["categories"] = [BODY.to_category()]
        for person in content["annotations"]:
            person["keypoints"] = keypoints_of([person])[0, :4:-1].ravel().tolist()
            person["num_keypoints"] = sum(v > 0 for v in person["keypoints"][2::3])

    other = write_changed(scenes, without_face, scenes.with_name("body.json"))
    dataset = load(f"{scenes},,0.5", f"{other},{scenes.parent / 'images'},3")
    assert dataset.skeleton is COCO
    assert dataset.names[:8] == dataset.names[8:]
    assert dataset.weights.tolist() == [0.5] * 8 + [3] * 8
    for index in (0, 5):
        one, two = dataset[index], dataset[index + 8]
        np.testing.assert_array_equal(one.image, two.image)
        np.testing.assert_array_equal(one.keypoints[:, 5:], two.keypoints[:, 5:])
        assert not two.keypoints[:, :5].any()
        assert two.labeled.tolist() == [False] * 5 + [True] * 12
    alone = load(other)
    assert alone.skeleton.names == BODY.names
    np.testing.assert_array_equal(alone[0].keypoints, dataset[0].keypoints[:, :4:-1])

    chosen = load(other, scenes, skeleton="crowdpose")
    assert chosen.skeleton is CROWDPOSE
    assert chosen[0].labeled.tolist() == chosen[8].labeled.tolist() == [True] * 12 + [False] * 2
    np.testing.assert_array_equal(chosen[0].keypoints[:, :12], dataset[0].keypoints[:, 5:])


def test_rejects_a_dataset_without_keypoints_of_the_skeleton(scenes: Path, tmp_path: Path) -> None:
    toml = tmp_path / "hand.toml"
    toml.write_text('names = ["thumb"]')
    with pytest.raises(InputError, match=r"no keypoint of the skeleton hand; .* nose, left_eye"):
        load(scenes, skeleton=str(toml))


def test_accepts_ids_of_any_type_files_in_folders_and_missing_sizes(
    scenes: Path, tmp_path: Path
) -> None:
    def change(content: Content) -> None:
        for image in content["images"]:
            image |= {"id": f"image {image['id']}", "file_name": f"images/{image['file_name']}"}
            del image["height"], image["width"]
        for person in content["annotations"]:
            person["image_id"] = f"image {person['image_id']}"
        content["images"].insert(0, {"id": 7.5, "file_name": "without people.jpg"})

    other = write_changed(scenes, change, scenes.with_name("other.json"))
    original, changed = load(scenes), load(f"{other},{scenes.parent}")
    assert changed.names == [f"images/{name}" for name in original.names]
    for one, two in zip(original, changed, strict=True):
        np.testing.assert_array_equal(one.keypoints, two.keypoints)
        assert (one.mask is None) == (two.mask is None)
        if one.mask is not None:
            np.testing.assert_array_equal(one.mask, two.mask)


def test_overfit_uses_the_first_labeled_images_of_the_first_dataset(scenes: Path) -> None:
    dataset = load(scenes, scenes, overfit=3)
    complete = load(scenes)
    assert dataset.names == [complete.names[index] for index in (0, 1, 3)]
    np.testing.assert_array_equal(dataset[2].image, complete[3].image)


def test_datasets_can_be_pickled(scenes: Path) -> None:
    dataset = load(scenes, scenes, outlines=True)
    copied = pickle.loads(pickle.dumps(dataset))
    for one, two in zip(dataset, copied, strict=True):
        np.testing.assert_array_equal(one.image, two.image)
        np.testing.assert_array_equal(one.keypoints, two.keypoints)
        assert one.outlines == two.outlines


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["images"][0].pop("file_name"), "image 1 has no file_name"),
        (lambda c: c.update(annotations=[]), "no people are annotated"),
        (
            lambda c: people_by_image(c)[3][0].update(segmentation={"counts": [3]}),
            "changed.json: annotation .*: segmentation: ",
        ),
        (lambda c: c["images"][1].update(file_name="missing.png"), "images/missing.png: cannot be"),
    ],
)
def test_rejects_unusable_annotations_in_one_line(
    scenes: Path, change: Callable[[Content], None], message: str
) -> None:
    path = write_changed(scenes, change, scenes.with_name("changed.json"))
    with pytest.raises(InputError, match=message) as error:
        list(load(path))
    assert "\n" not in error.value.args[0]


def test_rejects_images_of_another_size_than_annotated(scenes: Path) -> None:
    def change(content: Content) -> None:
        content["images"][0]["width"] = 95
        content["annotations"] = [
            p for p in content["annotations"] if isinstance(p.get("segmentation"), list)
        ]

    path = write_changed(scenes, change, scenes.with_name("resized.json"))
    message = r"01\.png: has 96×72 pixels, but is annotated as 95×72; .*check-data"
    with pytest.raises(InputError, match=message):
        list(load(path))


def test_rejects_an_empty_list_of_datasets() -> None:
    with pytest.raises(InputError, match="there is no training data"):
        load()


def test_parses_dataset_arguments() -> None:
    assert parse_dataset_argument("a.json") == (Path("a.json"), None, 1)
    assert parse_dataset_argument("a.json,b") == (Path("a.json"), Path("b"), 1)
    assert parse_dataset_argument("a.json,,0.25") == (Path("a.json"), None, 0.25)
    for wrong in ("a,b,c", "a,b,0", "a,b,-1", "a,b,nan", "a,b,inf", "a,b,1,d"):
        with pytest.raises(InputError, match="WEIGHT above 0"):
            parse_dataset_argument(wrong)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x/a,b.json", ("x/a,b.json", None, 1)),
        ("x/a,b.json,x/im,ages", ("x/a,b.json", "x/im,ages", 1)),
        ("x/a,b.json,x/im,ages,0.5", ("x/a,b.json", "x/im,ages", 0.5)),
        ("x/a,b.json,,3", ("x/a,b.json", None, 3)),
        ("x/c.json,x/im,ages", ("x/c.json", "x/im,ages", 1)),
        ("x/c.json,x/im,ages,2", ("x/c.json", "x/im,ages", 2)),
        ("x/c.json,x/2", ("x/c.json", "x/2", 1)),
        ("x/c.json,", ("x/c.json", None, 1)),
        ("x/a,b.json,nowhere", ("x/a,b.json", "nowhere", 1)),
        ("x/a,b.json,no,where,2", ("x/a,b.json", "no,where", 2)),
    ],
)
def test_paths_in_dataset_arguments_may_contain_commas(
    text: str,
    expected: tuple[str, str | None, float],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("x/im,ages", "x/2"):
        (tmp_path / folder).mkdir(parents=True)
    for file in ("x/a,b.json", "x/c.json"):
        (tmp_path / file).touch()
    annotations, images, weight = expected
    parsed = parse_dataset_argument(text)
    assert parsed == (Path(annotations), Path(images) if images else None, weight)


def test_a_dataset_argument_with_two_meanings_is_rejected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for file in ("a.json", "b", "a.json,b", "c.json"):
        (tmp_path / file).touch()
    with pytest.raises(InputError, match=r"a\.json and b; a\.json,b and no images; rename one"):
        parse_dataset_argument("a.json,b")
    with pytest.raises(InputError, match="WEIGHT above 0"):
        parse_dataset_argument("c.json,b,0")


def test_keypoints_that_differ_only_in_spelling_are_merged(scenes: Path) -> None:
    def respell(content: Content) -> None:
        category = content["categories"][0]
        category["keypoints"] = [name.title() for name in category["keypoints"]]

    other = write_changed(scenes, respell, scenes.with_name("spelling.json"))
    for dataset in (load(scenes, other), load(other, scenes), load(other, skeleton="coco")):
        assert dataset.skeleton is COCO
        for item, expected in zip(dataset, load(scenes), strict=False):
            np.testing.assert_array_equal(item.keypoints, expected.keypoints)
            assert item.labeled.all()
        np.testing.assert_array_equal(dataset[-1].keypoints, load(scenes)[-1].keypoints)
