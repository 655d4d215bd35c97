"""predict-ray on a cluster of two nodes, with failures; its output folder; invalid flags."""

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
from higherhrnet.poses.poses import Poses
from higherhrnet.poses.skeletons import COCO
from higherhrnet.ray.paths import locate
from higherhrnet.ray.predict import run_predict_ray
from higherhrnet.ray.tables import (
    IMAGES,
    ProcessedImage,
    begin_run,
    completed_images,
    count_results,
    failure_messages,
    remove_incomplete,
    write_shard,
)
from higherhrnet.synthetic.scenes import draw_scene
from tests.conftest import HIDE_PACKAGES, ModelFiles

COUNT, PER_SHARD = 60, 3
HEALTH_CHECK = {"health_check_period_ms": 500, "health_check_failure_threshold": 3}
"""Lets Ray notice a lost node within seconds."""


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder of scenes, some in a subfolder, with a broken image and files to be ignored."""
    drawn = [draw_scene(seed, height=64, width=64).image for seed in range(6)]
    folder = tmp_path / "images"
    for number in range(COUNT):
        write_image(folder / ("deep" if number % 3 else "") / f"{number}.png", drawn[number % 6])
    (folder / "broken.jpg").write_bytes(b"not an image")
    (folder / "notes.txt").write_text("not an image")
    (folder / ".hidden.png").write_bytes((folder / "0.png").read_bytes())
    return folder


class TwoNodes:
    """A cluster of two nodes on this machine, each with room for one actor."""

    def __init__(self) -> None:
        node: dict[str, Any] = {"num_cpus": 1, "object_store_memory": 80 * 2**20}
        head = {**node, "include_dashboard": False, "_system_config": HEALTH_CHECK}
        self.cluster = Cluster(True, head_node_args=head)
        self.add_second_node = partial(self.cluster.add_node, **node)
        self.second_node = self.add_second_node()

    def second_node_is_busy(self) -> bool:
        """Whether an actor of the second node processes a shard, by the name of its process."""
        raylet = self.second_node.all_processes["raylet"][0].process.pid
        for status in Path("/proc").glob("[0-9]*/status"):
            with suppress(OSError):  # the process may have ended
                if f"PPid:\t{raylet}\n" in status.read_text():
                    name = status.with_name("cmdline").read_bytes()
                    if b"InferenceActor" in name and b".submit" in name:
                        return True
        return False

    def kill_second_node(self) -> None:
        self.cluster.remove_node(self.second_node, allow_graceful=False)

    def restore(self) -> None:
        """Adds a second node if it was killed."""
        if self.second_node not in self.cluster.worker_nodes:
            self.second_node = self.add_second_node()


@pytest.fixture(scope="module")
def cluster() -> Iterator[TwoNodes]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        nodes = TwoNodes()
        yield nodes
        nodes.cluster.shutdown()  # type: ignore[no-untyped-call]


@pytest.fixture
def two_nodes(cluster: TwoNodes) -> TwoNodes:
    """The cluster of all tests, with both nodes."""
    cluster.restore()
    return cluster


def start(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "higherhrnet", "predict-ray", *map(str, arguments)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True)


def rows(out: Path, table: str) -> list[dict[str, Any]]:
    return list(parquet.read_table(out / table).to_pylist())


@pytest.mark.slow
def test_invalid_flags_are_one_line_errors(
    images: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Runs before the tests with a cluster, because commands would find it."""
    monkeypatch.chdir(images.parent)
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # keep pytest's handlers
    write_image(Path("clip.mp4.png"), draw_scene(0, height=64, width=64).image)
    Path("clip.mp4.png").rename("clip.mp4")
    Path("empty").mkdir()
    Path("other/people").mkdir(parents=True)
    Path("other/people/1.jpg").touch()
    for flags, message in [
        ("images --address localhost:1", "--address localhost:1: cannot connect to a cluster"),
        ("nowhere", "nowhere: no such file or folder"),
        ("clip.mp4", "clip.mp4: predict-ray processes images only"),
        ("abc://bucket/images", "abc://bucket/images: unsupported filesystem"),
        ("--out x", "name at least one image or folder"),
        ("images --address ray://first:10001", "for example HOST:6379"),
        ("images --out other", "1.jpg: not a file of predict-ray; choose another --out"),
        ("empty", "empty: contains no images"),
        ("images --actors 0", "--actors must be at least 1"),
        ("images --images-per-shard 0", "--images-per-shard must be at least 1"),
        ("images --gpus 1000", "has room for an actor (CPUs: 1, GPUs: 1000)"),
    ]:
        with pytest.raises(SystemExit) as caught:
            main(["predict-ray", *flags.split()])
        assert caught.value.code == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("higherhrnet: ") and message in line


@pytest.mark.slow
def test_every_image_appears_once_if_a_node_dies(
    two_nodes: TwoNodes, images: Path, small_model: ModelFiles, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    model = ["--model", small_model.onnx, "--engine", "onnxruntime"]
    flags = ["--address", two_nodes.cluster.address, images, *model]
    flags += ["--images-per-shard", PER_SHARD, "--out", out]
    process = start(*flags)
    written = list[Path]()
    while process.poll() is None and not (len(written) > 3 and two_nodes.second_node_is_busy()):
        written = list(out.glob("images/[!.]*.parquet"))
        time.sleep(0.02)
    two_nodes.kill_second_node()
    before = len(list(out.glob("images/*.parquet")))
    stdout, stderr = process.communicate(timeout=300)
    assert process.returncode == 3, stderr
    assert before < COUNT // PER_SHARD  # the node died during the run
    assert f"in {COUNT} images, 1 skipped" in stdout
    check(out, images, small_model)
    assert [row["image"] for row in rows(out, "failed")] == [str(images / "broken.jpg")]
    assert "not an image of a supported format" in rows(out, "failed")[0]["reason"]

    times = {path: path.stat().st_mtime_ns for path in out.glob("images/*.parquet")}
    (out / "people" / "0123456789abcdef.parquet").write_bytes(b"of a lost shard")
    for name in ("broken.jpg", "new.jpg"):
        write_image(images / name, draw_scene(7, height=64, width=64).image)
    resumed = start(*flags, "--resume")
    stdout, stderr = resumed.communicate(timeout=300)
    assert resumed.returncode == 0, stderr
    assert f"in 2 images, {COUNT} already finished" in stdout
    check(out, images, small_model)
    assert rows(out, "failed") == []
    assert all(path.stat().st_mtime_ns == modified for path, modified in times.items())


def _kill_this_process() -> None:
    if sys.platform != "win32":
        os.kill(os.getpid(), signal.SIGKILL)


class FatalEngine(Engine):
    """An engine that kills its process if the input is not square."""

    description, streams = "fatal", 1

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def __call__(self, images: FloatArray) -> Sequence[FloatArray]:
        if images.shape[2] != images.shape[3]:
            _kill_this_process()
        return self.engine(images)


def load_fatal(model: Path) -> Predictor:
    predictor = Predictor.load(model, engine="onnxruntime", threads=1)
    predictor.processing.engine = FatalEngine(predictor.engine)
    return predictor


@pytest.mark.slow
def test_only_the_image_that_kills_its_process_fails(
    two_nodes: TwoNodes, images: Path, small_model: ModelFiles, tmp_path: Path
) -> None:
    write_image(images / "7" / "fatal.png", draw_scene(0, height=64, width=160).image)
    out, address = tmp_path / "out", two_nodes.cluster.address
    load = partial(load_fatal, small_model.onnx)
    summary = run_predict_ray(
        load, [str(images)], str(out), address=address, images_per_shard=PER_SHARD
    )
    assert summary.images == COUNT and len(summary.failed) == 2
    counts = Counter(row["image"] for row in rows(out, "images"))
    assert len(counts) == COUNT and set(counts.values()) == {1}
    failed = {Path(row["image"]).name: row["reason"] for row in rows(out, "failed")}
    assert failed.keys() == {"broken.jpg", "fatal.png"}
    assert failed["fatal.png"] == "the process died while it processed the image"


def load_dying(model: Path, mark: Path, driver: int) -> Predictor:
    """Lets one actor die once, in the shard with the broken image, before its last file."""
    if os.getpid() != driver:
        write = parquet.write_table

        def write_or_die(table: pa.Table, path: str, **options: Any) -> None:  # noqa: ANN401
            last = Path(path).parent.name == IMAGES
            if last and table.num_rows == PER_SHARD - 1 and not mark.exists():
                mark.touch()
                _kill_this_process()
            write(table, path, **options)

        parquet.write_table = write_or_die
    return Predictor.load(model, engine="onnxruntime", threads=1)


@pytest.mark.slow
def test_files_of_an_incomplete_shard_are_removed(
    two_nodes: TwoNodes, images: Path, small_model: ModelFiles, tmp_path: Path
) -> None:
    out, mark, address = tmp_path / "out", tmp_path / "mark", two_nodes.cluster.address
    load = partial(load_dying, small_model.onnx, mark, os.getpid())
    summary = run_predict_ray(
        load, [str(images)], str(out), address=address, images_per_shard=PER_SHARD
    )
    assert mark.exists()
    assert summary.images == COUNT and len(summary.failed) == 1
    check(out, images, small_model)


def check(out: Path, images: Path, model: ModelFiles) -> None:
    """Every image appears once, with the people that a single process predicts in it."""
    paths = [path for path in images.rglob("[!.]*") if path.suffix in {".png", ".jpg"}]
    readable = [path for path in paths if path.read_bytes() != b"not an image"]
    processed, people = rows(out, "images"), rows(out, "people")
    assert Counter(row["image"] for row in processed) == Counter(map(str, readable))
    predictor = Predictor.load(model.onnx, engine="onnxruntime", threads=1)
    for row in processed:
        image = read_image(row["image"])
        assert (row["height"], row["width"]) == image.shape[:2]
        of_image = [person for person in people if person["image"] == row["image"]]
        of_image.sort(key=lambda person: int(person["person"]))
        poses = predictor(image)
        assert row["people"] == len(of_image) == len(poses)
        assert [person["person"] for person in of_image] == list(range(len(of_image)))
        for person, pose in zip(of_image, poses, strict=True):
            keypoints = person["keypoints"]
            triples = [
                [keypoints[name][axis] for axis in ("x", "y", "score")] for name in COCO.names
            ]
            # Kernels may depend on the alignment of memory, so processes agree to rounding only.
            expected = np.column_stack([pose.keypoints[0], pose.keypoint_scores[0]])
            np.testing.assert_allclose(np.array(triples), expected, rtol=1e-5, atol=1e-5)
            np.testing.assert_allclose(list(person["box"].values()), pose.boxes[0], atol=1e-3)
            assert person["score"] == pytest.approx(float(pose.scores[0]), rel=1e-5)


def test_run_is_resumed_with_equal_settings_only(tmp_path: Path) -> None:
    out, settings = locate(str(tmp_path)), {"size": 512}
    run = begin_run(out, settings, resume=False)
    assert count_results(out) == (0, 0) and failure_messages(out) == []
    poses = Poses.from_coco([])
    processed, failed = [ProcessedImage("a.png", (4, 8), poses)], {"b.png": "broken"}
    write_shard(out, run, ["a.png", "b.png"], processed, failed, COCO)
    assert rows(tmp_path, "people") == []
    with pytest.raises(InputError, match="contains an earlier run; continue it with --resume"):
        begin_run(out, settings, resume=False)
    with pytest.raises(InputError, match="made with another model or other inference settings"):
        begin_run(out, {"size": 256}, resume=True)
    assert rows(tmp_path, "failed") == [{"image": "b.png", "reason": "broken"}]
    assert completed_images(out) == {"a.png", "b.png"}
    assert failure_messages(out) == ["b.png: broken"]
    assert begin_run(out, settings, resume=True) != run
    assert completed_images(out) == {"a.png"} and count_results(out) == (1, 0)
    assert rows(tmp_path, "images") == [{"image": "a.png", "width": 8, "height": 4, "people": 0}]
    with pytest.raises(InputError, match="another run has begun to write into this folder"):
        write_shard(out, run, ["c.png"], [ProcessedImage("c.png", (4, 8), poses)], {}, COCO)
    assert completed_images(out) == {"a.png"}
    with pytest.raises(InputError, match="another run has begun to write into this folder"):
        remove_incomplete(out, run)


def test_repeated_shard_replaces_its_earlier_files(tmp_path: Path) -> None:
    out = locate(str(tmp_path))
    run = begin_run(out, {}, resume=False)
    person = {"keypoints": [1.0, 2.0, 0.5] * 17, "score": 0.5}
    processed = ProcessedImage("a.png", (4, 8), Poses.from_coco([person]))
    write_shard(out, run, ["a.png"], [processed], {}, COCO)
    write_shard(out, run, ["a.png"], [], {"a.png": "gone"}, COCO)
    assert rows(tmp_path, "people") == rows(tmp_path, "images") == []
    write_shard(out, run, ["a.png"], [processed], {}, COCO)
    assert rows(tmp_path, "failed") == []
    assert len(rows(tmp_path, "people")) == 1 and count_results(out) == (1, 1)


def test_missing_ray_is_a_one_line_error(tmp_path: Path) -> None:
    code = (
        HIDE_PACKAGES.format(names=["ray"])
        + "from higherhrnet.cli.main import main\nmain(sys.argv[1:])"
    )
    command = [sys.executable, "-c", code, "predict-ray", str(tmp_path)]
    process = subprocess.run(command, capture_output=True, text=True)
    assert process.returncode == 1
    assert process.stderr == 'higherhrnet: predict-ray needs ray: pip install "higherhrnet[ray]"\n'
