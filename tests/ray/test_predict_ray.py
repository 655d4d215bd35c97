"""A real cluster of two machines, one of which dies; and what is refused without one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

pytest.importorskip("ray")

import pyarrow.parquet as parquet
from ray.cluster_utils import Cluster

from higherhrnet import Predictor, read_image
from higherhrnet.arrays import FloatArray
from higherhrnet.cli.main import main
from higherhrnet.engines.base import Engine
from higherhrnet.errors import InputError
from higherhrnet.io.images import write_image
from higherhrnet.poses import Poses
from higherhrnet.ray import tables
from higherhrnet.ray.paths import Location, location
from higherhrnet.ray.predict import run_predict_ray
from higherhrnet.ray.tables import (
    ProcessedImage,
    begin_run,
    completed_images,
    count_results,
    failures,
    remove_incomplete,
    write_shard,
)
from higherhrnet.skeleton import COCO
from higherhrnet.synthetic.scenes import draw_scene
from tests.conftest import WITHOUT, Model

COUNT, PER_FILE = 60, 3
LOST = {"health_check_period_ms": 500, "health_check_failure_threshold": 3}
"""How soon Ray sees that a machine is gone."""


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of drawn scenes, some deeper; one file is broken and some are none of ours."""
    drawn = [draw_scene(seed, height=64, width=64).image for seed in range(6)]
    folder = tmp_path / "pictures"
    for number in range(COUNT):
        write_image(folder / ("deep" if number % 3 else "") / f"{number}.png", drawn[number % 6])
    (folder / "broken.jpg").write_bytes(b"no picture")
    (folder / "notes.txt").write_text("no picture, and none by its name")
    (folder / ".hidden.png").write_bytes((folder / "0.png").read_bytes())
    return folder


class Machines:
    """A cluster on this machine that believes to be two, each with room for one actor."""

    def __init__(self) -> None:
        small: dict[str, Any] = {"num_cpus": 1, "object_store_memory": 80 * 2**20}
        head = {**small, "include_dashboard": False, "_system_config": LOST}
        self.cluster = Cluster(True, head_node_args=head)
        self.other = self.cluster.add_node(**small)

    def other_is_at_work(self) -> bool:
        """Whether an actor of the other one has a unit under way; Ray names processes so."""
        raylet = self.other.all_processes["raylet"][0].process.pid
        for status in Path("/proc").glob("[0-9]*/status"):
            with suppress(OSError):  # it ended meanwhile
                if f"PPid:\t{raylet}\n" in status.read_text():
                    name = status.with_name("cmdline").read_bytes()
                    if b"_Finder" in name and b".submit" in name:
                        return True
        return False

    def kill_the_other(self) -> None:
        self.cluster.remove_node(self.other, allow_graceful=False)


@pytest.fixture
def machines(monkeypatch: pytest.MonkeyPatch) -> Iterator[Machines]:
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    machines = Machines()
    yield machines
    machines.cluster.shutdown()  # type: ignore[no-untyped-call]


def start(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "higherhrnet", "predict", *map(str, arguments)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True)


def rows(out: Path, kind: str) -> list[dict[str, Any]]:
    return list(parquet.read_table(out / kind).to_pylist())


@pytest.mark.slow
def test_a_machine_dies_and_every_image_is_there_once(
    machines: Machines, pictures: Path, lively: Model, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    model = ["--model", lively.onnx, "--engine", "onnxruntime"]
    flags = ["--ray", machines.cluster.address, pictures, *model, "--per-file", PER_FILE]
    flags += ["--out", out]
    running = start(*flags)
    written = list[Path]()
    while running.poll() is None and not (len(written) > 3 and machines.other_is_at_work()):
        written = list(out.glob("images/[!.]*.parquet"))
        time.sleep(0.02)
    machines.kill_the_other()
    before = len(list(out.glob("images/*.parquet")))
    said, complained = running.communicate(timeout=300)
    assert running.returncode == 3, complained
    assert before < COUNT // PER_FILE  # it died in the middle
    assert f"in {COUNT} images, 1 skipped" in said
    check(out, pictures, lively)
    assert [row["image"] for row in rows(out, "failed")] == [str(pictures / "broken.jpg")]
    assert "not a picture of a known kind" in rows(out, "failed")[0]["reason"]

    times = {path: path.stat().st_mtime_ns for path in out.glob("images/*.parquet")}
    (out / "people" / "0123456789abcdef.parquet").write_bytes(b"by a machine that died")
    for name in ("broken.jpg", "new.jpg"):
        write_image(pictures / name, draw_scene(7, height=64, width=64).image)
    again = start(*flags, "--resume")
    said, complained = again.communicate(timeout=300)
    assert again.returncode == 0, complained
    assert f"in 2 images, {COUNT} done before" in said
    check(out, pictures, lively)
    assert rows(out, "failed") == []
    assert all(path.stat().st_mtime_ns == then for path, then in times.items())


class Deadly(Engine):
    """An engine that dies of one picture, known by its shape."""

    description, streams = "deadly", 1

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def __call__(self, images: FloatArray) -> Sequence[FloatArray]:
        if images.shape[2] != images.shape[3]:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.engine(images)


def deadly(model: Path) -> Predictor:
    predictor = Predictor.load(model, engine="onnxruntime", threads=1)
    predictor.processing.engine = Deadly(predictor.engine)
    return predictor


@pytest.mark.slow
def test_a_picture_that_kills_is_named_and_costs_no_other(
    machines: Machines, pictures: Path, lively: Model, tmp_path: Path
) -> None:
    write_image(pictures / "7" / "deadly.png", draw_scene(0, height=64, width=160).image)
    out, address = tmp_path / "out", machines.cluster.address
    load = partial(deadly, lively.onnx)
    summary = run_predict_ray(
        load, [str(pictures)], str(out), address=address, images_per_shard=PER_FILE
    )
    assert summary.images == COUNT and len(summary.failed) == 2
    images = Counter(row["image"] for row in rows(out, "images"))
    assert len(images) == COUNT and set(images.values()) == {1}
    failed = {Path(row["image"]).name: row["reason"] for row in rows(out, "failed")}
    assert failed.keys() == {"broken.jpg", "deadly.png"}
    assert failed["deadly.png"] == "the process that looked at it died"


def dying(model: Path, mark: Path, driver: int) -> Predictor:
    """In one actor, has it die after the people of the unit with the broken picture, once."""
    if os.getpid() != driver:
        write = tables._write

        def write_or_die(out: Location, kind: str, unit: str, table: pa.Table) -> None:
            if kind == tables.IMAGES and table.num_rows == PER_FILE - 1 and not mark.exists():
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            write(out, kind, unit, table)

        tables._write = write_or_die
    return Predictor.load(model, engine="onnxruntime", threads=1)


@pytest.mark.slow
def test_what_a_process_wrote_before_it_died_is_not_there_twice(
    machines: Machines, pictures: Path, lively: Model, tmp_path: Path
) -> None:
    out, mark, address = tmp_path / "out", tmp_path / "mark", machines.cluster.address
    load = partial(dying, lively.onnx, mark, os.getpid())
    summary = run_predict_ray(
        load, [str(pictures)], str(out), address=address, images_per_shard=PER_FILE
    )
    assert mark.exists()
    assert summary.images == COUNT and len(summary.failed) == 1
    check(out, pictures, lively)


def check(out: Path, pictures: Path, model: Model) -> None:
    """Every picture is there once, with the people that one process finds in it."""
    names = [path for path in pictures.rglob("[!.]*") if path.suffix in {".png", ".jpg"}]
    readable = [path for path in names if path.read_bytes() != b"no picture"]
    images, people = rows(out, "images"), rows(out, "people")
    assert Counter(row["image"] for row in images) == Counter(map(str, readable))
    predictor = Predictor.load(model.onnx, engine="onnxruntime", threads=1)
    for row in images:
        picture = read_image(row["image"])
        assert (row["height"], row["width"]) == picture.shape[:2]
        mine = [person for person in people if person["image"] == row["image"]]
        mine.sort(key=lambda person: int(person["person"]))
        poses = predictor(picture)
        assert row["people"] == len(mine) == len(poses)
        assert [person["person"] for person in mine] == list(range(len(mine)))
        for person, pose in zip(mine, poses, strict=True):
            found = person["keypoints"]
            triples = [[found[name][axis] for axis in ("x", "y", "score")] for name in COCO.names]
            # Kernels may depend on the alignment of memory, so processes agree to rounding only.
            expected = np.column_stack([pose.keypoints[0], pose.keypoint_scores[0]])
            np.testing.assert_allclose(np.array(triples), expected, rtol=1e-5, atol=1e-5)
            np.testing.assert_allclose(list(person["box"].values()), pose.boxes[0], atol=1e-3)
            assert person["score"] == pytest.approx(float(pose.scores[0]), rel=1e-5)


def test_what_cannot_be_done_is_said_in_a_line(
    pictures: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(pictures.parent)
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # ours stays, whatever `main` sets
    write_image(Path("clip.mp4.png"), draw_scene(0, height=64, width=64).image)
    Path("clip.mp4.png").rename("clip.mp4")
    Path("nothing").mkdir()
    Path("mine/people").mkdir(parents=True)
    Path("mine/people/1.jpg").touch()
    for flags, said in [
        ("--ray --show-maps pictures", "leave out --show-maps"),
        ("--ray localhost:1 pictures", "--ray localhost:1: no cluster can be joined"),
        ("nowhere --ray", "nowhere: no such file or folder"),
        ("--ray clip.mp4", "clip.mp4: --ray looks at pictures, not videos"),
        ("--ray abc://bucket/pictures", "abc://bucket/pictures: no filesystem for it"),
        ("--ray --out x", "name a picture or folder"),
        ("--ray ray://first:10001 pictures", "say HOST:6379 instead"),
        ("--ray pictures --out mine", "1.jpg: is none of ours; take another --out"),
        ("--ray nothing", "nothing: no picture in there"),
        ("--ray pictures --actors 0", "must be at least 1"),
        ("pictures --gpus 1", "go with --ray"),
    ]:
        with pytest.raises(SystemExit) as ended:
            main(["predict", *flags.split()])
        assert ended.value.code == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("higherhrnet: ") and said in line


def test_a_run_goes_on_only_as_it_began(tmp_path: Path) -> None:
    out, look = location(str(tmp_path)), {"size": 512}
    run = begin_run(out, look, resume=False)
    assert count_results(out) == (0, 0) and failures(out) == []
    poses = Poses.from_coco([])
    seen, failed = [ProcessedImage("a.png", (4, 8), poses)], {"b.png": "broken"}
    write_shard(out, run, ["a.png", "b.png"], seen, failed, COCO)
    assert rows(tmp_path, "people") == []
    with pytest.raises(InputError, match="holds a run: --resume goes on with it"):
        begin_run(out, look, resume=False)
    with pytest.raises(InputError, match="made with another model or settings"):
        begin_run(out, {"size": 256}, resume=True)
    assert rows(tmp_path, "failed") == [{"image": "b.png", "reason": "broken"}]
    assert completed_images(out) == {"a.png", "b.png"} and failures(out) == ["b.png: broken"]
    assert begin_run(out, look, resume=True) != run
    assert completed_images(out) == {"a.png"} and count_results(out) == (1, 0)
    assert rows(tmp_path, "images") == [{"image": "a.png", "width": 8, "height": 4, "people": 0}]
    with pytest.raises(InputError, match="another run has begun to write there"):
        write_shard(out, run, ["c.png"], [ProcessedImage("c.png", (4, 8), poses)], {}, COCO)
    assert completed_images(out) == {"a.png"}
    with pytest.raises(InputError, match="another run has begun to write there"):
        remove_incomplete(out, run)


def test_a_unit_done_again_with_another_outcome_leaves_only_that(tmp_path: Path) -> None:
    out = location(str(tmp_path))
    run = begin_run(out, {}, resume=False)
    person = {"keypoints": [1.0, 2.0, 0.5] * 17, "score": 0.5}
    found = ProcessedImage("a.png", (4, 8), Poses.from_coco([person]))
    write_shard(out, run, ["a.png"], [found], {}, COCO)
    write_shard(out, run, ["a.png"], [], {"a.png": "gone"}, COCO)
    assert rows(tmp_path, "people") == rows(tmp_path, "images") == []
    write_shard(out, run, ["a.png"], [found], {}, COCO)
    assert rows(tmp_path, "failed") == []
    assert len(rows(tmp_path, "people")) == 1 and count_results(out) == (1, 1)


def test_without_ray_it_says_what_to_install(tmp_path: Path) -> None:
    code = (
        WITHOUT.format(names=["ray"]) + "from higherhrnet.cli.main import main\nmain(sys.argv[1:])"
    )
    command = [sys.executable, "-c", code, "predict", "--ray", str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 1
    assert ended.stderr == 'higherhrnet: --ray needs Ray: pip install "higherhrnet[ray]"\n'
