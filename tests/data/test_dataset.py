"""Annotation files → photographs, against what the files say."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as Pillow
from pycocotools.coco import COCO as PycocotoolsCOCO

from higherhrnet.data import masks as regions
from higherhrnet.data.dataset import KeypointDataset, load_dataset, parse_source
from higherhrnet.errors import InputError
from higherhrnet.recipes import DataConfig
from higherhrnet.skeleton import COCO, CROWDPOSE, Skeleton
from higherhrnet.synthetic.scenes import write_scenes

Content = dict[str, Any]
BODY = Skeleton("body", tuple(reversed(COCO.names[5:])), (), (0.07,) * 12)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scenes of which the third shows only a crowd, and the fourth somebody without keypoints."""
    path = write_scenes(
        tmp_path_factory.mktemp("scenes"), 8, height=72, width=96, people=(1, 4), crowd=0.5
    )

    def change(content: Content) -> None:
        groups = people_of(content)
        for person in groups[3]:
            person |= {"iscrowd": 1, "num_keypoints": 0, "keypoints": [0] * 51}
        groups[4][0] |= {"num_keypoints": 0, "keypoints": [0] * 51}
        del groups[4][0]["segmentation"]
        assert any(person["iscrowd"] and isinstance(person["segmentation"], dict)
                   for group in groups.values() for person in group)  # fmt: skip

    return rewritten(path, change, path)


def people_of(content: Content) -> dict[Any, list[Content]]:
    groups: dict[Any, list[Content]] = {image["id"]: [] for image in content["images"]}
    for annotation in content["annotations"]:
        groups[annotation["image_id"]].append(annotation)
    return groups


def rewritten(path: Path, change: Callable[[Content], None], to: Path) -> Path:
    content = json.loads(path.read_text())
    change(content)
    to.write_text(json.dumps(content))
    return to


def load(*train: object, outlines: bool = False, **config: Any) -> KeypointDataset:  # noqa: ANN401
    return load_dataset(DataConfig(tuple(map(str, train)), **config), outlines)


def triples(people: list[Content]) -> NDArray[np.float32]:
    return np.array([p["keypoints"] for p in people], np.float32).reshape(-1, 17, 3)


def test_photographs_are_what_the_file_says(scenes: Path) -> None:
    content, photographs = json.loads(scenes.read_text()), load(scenes)
    groups = people_of(content)
    assert photographs.skeleton is COCO
    assert len(photographs) == len(photographs.names) == 8
    assert photographs.weights.tolist() == [1] * 8
    for image, found in zip(content["images"], photographs, strict=True):
        used = [p for p in groups[image["id"]] if not p["iscrowd"] or p["num_keypoints"]]
        assert found.name == image["file_name"]
        pixels = Pillow.open(scenes.parent / "images" / found.name)
        np.testing.assert_array_equal(found.image, np.asarray(pixels))
        np.testing.assert_array_equal(found.keypoints, triples(used))
        np.testing.assert_allclose(found.sizes, [max(p["bbox"][2:]) for p in used])
        assert found.keypoints.dtype == found.sizes.dtype == np.float32
        assert found.labeled.all()
        assert found.outlines == ()
    assert len(photographs[2].keypoints) == 0
    assert (photographs[3].keypoints[0] == 0).all()
    with pytest.raises(IndexError):
        photographs[8]
    assert photographs[-1].name == photographs.names[7]


def test_crowds_and_people_without_keypoints_are_masked(
    scenes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    judge, content = PycocotoolsCOCO(str(scenes)), json.loads(scenes.read_text())
    capsys.readouterr()
    for image, found in zip(content["images"], load(scenes), strict=True):
        expected = np.ones((72, 96), np.bool_)
        for person in people_of(content)[image["id"]]:
            if person["iscrowd"] or not person["num_keypoints"]:
                if "segmentation" in person:
                    expected &= judge.annToMask(person) == 0
                else:
                    x, y, width, height = map(int, person["bbox"])
                    expected[y : y + height, x : x + width] = False
        if expected.all():
            assert found.mask is None
        else:
            assert found.mask is not None
            np.testing.assert_array_equal(found.mask, expected)
    assert [found.mask for found in load(scenes, mask=False)] == [None] * 8


def test_crowdpose_is_not_masked(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"height": 64, "width": 64, "crowd": 1.0}
    path = write_scenes(tmp_path, 3, skeleton=CROWDPOSE, **settings)
    photographs = load(path)
    assert photographs.skeleton is CROWDPOSE
    assert [found.mask for found in photographs] == [None] * 3
    assert all(found.mask is not None for found in load(write_scenes(tmp_path, 3, **settings)))


def test_outlines_of_people_with_keypoints_are_kept_if_wanted(
    scenes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    judge, content = PycocotoolsCOCO(str(scenes)), json.loads(scenes.read_text())
    capsys.readouterr()
    for image, found in zip(content["images"], load(scenes, outlines=True), strict=True):
        used = [p for p in people_of(content)[image["id"]] if not p["iscrowd"]]
        assert len(found.outlines) == len(used) == len(found.keypoints)
        for person, outline in zip(used, found.outlines, strict=True):
            assert bool(outline) == bool(person["num_keypoints"])
            if outline:
                np.testing.assert_array_equal(
                    regions.decode(outline, 72, 96), judge.annToMask(person)
                )


def test_data_sets_are_merged_by_the_names_of_their_keypoints(scenes: Path) -> None:
    def without_face(content: Content) -> None:
        content["categories"] = [BODY.to_category()]
        for person in content["annotations"]:
            person["keypoints"] = triples([person])[0, :4:-1].ravel().tolist()
            person["num_keypoints"] = sum(v > 0 for v in person["keypoints"][2::3])

    other = rewritten(scenes, without_face, scenes.with_name("body.json"))
    photographs = load(f"{scenes},,0.5", f"{other},{scenes.parent / 'images'},3")
    assert photographs.skeleton is COCO
    assert photographs.names[:8] == photographs.names[8:]
    assert photographs.weights.tolist() == [0.5] * 8 + [3] * 8
    for index in (0, 5):
        one, two = photographs[index], photographs[index + 8]
        np.testing.assert_array_equal(one.image, two.image)
        np.testing.assert_array_equal(one.keypoints[:, 5:], two.keypoints[:, 5:])
        assert not two.keypoints[:, :5].any()
        assert two.labeled.tolist() == [False] * 5 + [True] * 12
    alone = load(other)
    assert alone.skeleton.names == BODY.names
    np.testing.assert_array_equal(alone[0].keypoints, photographs[0].keypoints[:, :4:-1])

    chosen = load(other, scenes, skeleton="crowdpose")
    assert chosen.skeleton is CROWDPOSE
    assert chosen[0].labeled.tolist() == chosen[8].labeled.tolist() == [True] * 12 + [False] * 2
    np.testing.assert_array_equal(chosen[0].keypoints[:, :12], photographs[0].keypoints[:, 5:])


def test_a_data_set_without_any_of_the_keypoints_is_refused(scenes: Path, tmp_path: Path) -> None:
    toml = tmp_path / "hand.toml"
    toml.write_text('names = ["thumb"]')
    with pytest.raises(InputError, match="no keypoint of the skeleton hand, but nose, left_eye"):
        load(scenes, skeleton=str(toml))


def test_ids_and_files_of_any_form(scenes: Path, tmp_path: Path) -> None:
    def change(content: Content) -> None:
        for image in content["images"]:
            image |= {"id": f"picture {image['id']}", "file_name": f"images/{image['file_name']}"}
            del image["height"], image["width"]
        for person in content["annotations"]:
            person["image_id"] = f"picture {person['image_id']}"
        content["images"].insert(0, {"id": 7.5, "file_name": "nobody is in it.jpg"})

    other = rewritten(scenes, change, scenes.with_name("other.json"))
    plain, odd = load(scenes), load(f"{other},{scenes.parent}")
    assert odd.names == [f"images/{name}" for name in plain.names]
    for one, two in zip(plain, odd, strict=True):
        np.testing.assert_array_equal(one.keypoints, two.keypoints)
        assert (one.mask is None) == (two.mask is None)
        if one.mask is not None:
            np.testing.assert_array_equal(one.mask, two.mask)


def test_overfitting_takes_the_first_with_keypoints_of_the_first_set(scenes: Path) -> None:
    photographs = load(scenes, scenes, overfit=3)
    every = load(scenes)
    assert photographs.names == [every.names[index] for index in (0, 1, 3)]
    np.testing.assert_array_equal(photographs[2].image, every[3].image)


def test_photographs_travel_to_other_processes(scenes: Path) -> None:
    photographs = load(scenes, scenes, outlines=True)
    sent = pickle.loads(pickle.dumps(photographs))
    for one, two in zip(photographs, sent, strict=True):
        np.testing.assert_array_equal(one.image, two.image)
        np.testing.assert_array_equal(one.keypoints, two.keypoints)
        assert one.outlines == two.outlines


def test_what_cannot_be_learnt_from_is_said(scenes: Path) -> None:
    def refused(change: Callable[[Content], None], match: str) -> None:
        path = rewritten(scenes, change, scenes.with_name("bad.json"))
        with pytest.raises(InputError, match=match) as error:
            photographs = load(path)
            assert [found.name for found in photographs]
        assert "\n" not in str(error.value)

    def resize(content: Content) -> None:
        content["images"][0]["width"] = 95

    refused(lambda c: c["images"][0].pop("file_name"), "image 1 has no file_name")
    refused(lambda c: c.update(annotations=[]), "nobody is annotated")
    refused(lambda c: people_of(c)[3][0].update(segmentation={"counts": [3]}), "bad.json: annot")
    refused(lambda c: c["images"][1].update(file_name="away.png"), "images/away.png: cannot be r")
    refused(
        lambda c: c["images"][0].update(width=95) or c["annotations"].__setitem__(
            slice(None), [p for p in c["annotations"] if isinstance(p.get("segmentation"), list)]
        ),
        r"01\.png: 96×72 pixels, but annotated as 95×72; .*check-data",
    )  # fmt: skip
    with pytest.raises(InputError, match="nothing to train on"):
        load()


def test_sources() -> None:
    assert parse_source("a.json") == (Path("a.json"), None, 1)
    assert parse_source("a.json,b") == (Path("a.json"), Path("b"), 1)
    assert parse_source("a.json,,0.25") == (Path("a.json"), None, 0.25)
    for wrong in ("a,b,c", "a,b,0", "a,b,-1", "a,b,nan", "a,b,inf", "a,b,1,d"):
        with pytest.raises(InputError, match="WEIGHT above 0"):
            parse_source(wrong)
