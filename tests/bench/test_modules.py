"""The metrics and the baselines of the stand-alone benchmarks, and short runs of them."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from higherhrnet import Poses, Predictor
from higherhrnet.arrays import DoubleArray
from higherhrnet.bench.scripts import zoo
from higherhrnet.config.header import Header
from higherhrnet.config.model import HeadName, ModelConfig
from higherhrnet.graph.export import export_onnx

ROOT = Path(__file__).parent.parent.parent


def poses_at(keypoints: DoubleArray, ids: list[int]) -> Poses:
    count = len(keypoints)
    scores = np.ones((count, 17), np.float32)
    return Poses(keypoints.astype(np.float32), scores, scores[:, 0], track_ids=np.array(ids))


def walk(x: list[list[float]]) -> DoubleArray:
    """(F, P, 17, 2) people whose keypoints are all at (x, 0)."""
    keypoints = np.zeros((len(x), len(x[0]), 17, 2))
    keypoints[..., 0] = np.array(x)[:, :, None]
    return keypoints


def test_identity_switches_track_ids_and_error() -> None:
    tracking = pytest.importorskip("higherhrnet.bench.scripts.tracking")
    truth = walk([[0, 100], [5, 100], [10, 100], [15, 100]])
    ids = [[1, 2], [1, 2], [2, 1], [2, 3]]  # the IDs are exchanged, then one is new
    tracked = [poses_at(frame + 3, own) for frame, own in zip(truth, ids, strict=True)]
    switches, count, error = tracking.identities_and_error(tracked, truth)
    assert (switches, count) == (3, 3)
    assert error == pytest.approx(3 * 2**0.5)


def test_a_person_keeps_its_track_as_long_as_it_is_near_enough() -> None:
    tracking = pytest.importorskip("higherhrnet.bench.scripts.tracking")
    truth = walk([[0, 20], [0, 20]])
    tracked = [poses_at(truth[0], [1, 2]), poses_at(truth[1, ::-1], [1, 2])]
    assert tracking.identities_and_error(tracked, truth)[0] == 0
    far = walk([[0, 40], [0, 40]])
    tracked = [poses_at(far[0], [1, 2]), poses_at(far[1, ::-1], [1, 2])]
    assert tracking.identities_and_error(tracked, far)[0] == 2


def test_people_without_a_pose_near_them_are_missed() -> None:
    tracking = pytest.importorskip("higherhrnet.bench.scripts.tracking")
    truth = walk([[0, 100], [0, 100], [0, 100]])
    truth[2, 1] = np.nan  # not in the image
    tracked = [
        poses_at(truth[0, :1], [1]),
        poses_at(truth[0] + [[[0, 0]], [[30, 0]]], [1, 2]),
        poses_at(truth[0], [1, 2]),
    ]
    assert tracking.count_missed(tracked, truth) == 2


def test_jitter_is_the_mean_acceleration() -> None:
    tracking = pytest.importorskip("higherhrnet.bench.scripts.tracking")
    frames = walk([[0, 50], [1, 50], [4, 50], [9, 50]])  # accelerations 2 and 0
    assert tracking.jitter([poses_at(frame, [1, 2]) for frame in frames]) == pytest.approx(1)
    assert tracking.jitter([poses_at(frame, [2, 5]) for frame in frames]) == pytest.approx(1)


def test_the_loop_computes_the_losses_of_the_paper() -> None:
    torch = pytest.importorskip("torch")
    from higherhrnet.bench.scripts.losses import loop_loss

    tags = torch.tensor([[[[1.0, 2.0]], [[3.0, 5.0]]]])  # (1, 2, 1, 2)
    cells = torch.tensor([[[0, 0], [1, 1], [0, 0]]])
    visible = torch.tensor([[[True, True], [True, False], [False, False]]])
    pull, push = loop_loss(tags, cells, visible)  # the means are 2, of 1 and 3, and 2
    assert pull.tolist() == [0.5]
    assert push.tolist() == [0.5]


@pytest.mark.slow
@pytest.mark.parametrize("head", ["tags", "offsets"])
def test_random_weights_of_published_models_give_finite_maps_without_people(
    head: HeadName, tmp_path: Path
) -> None:
    header = Header(ModelConfig(width=4, head=head))
    export_onnx(tmp_path / "a.onnx", zoo.random_weights(header.model), header)
    predictor = Predictor.load(tmp_path / "a.onnx", engine="onnxruntime")
    image = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    assert len(predictor(image)) == 0
    latency, processor = zoo.measure(predictor, image, 2)
    assert min(latency.minimum, processor.minimum) > 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "rows"),
    [
        ("losses --batch 1 --people 2 --runs 1", ["loop", "vectorized"]),
        ("stream --count 40", ["4", "40"]),
        (
            "serving --model examples/drawn.onnx --engine onnxruntime --seconds 0.1",
            ["the network", "all steps", "1 client", "8 clients", "64 clients"],
        ),
        (
            "training --width 4 --batch-size 1 --size 64 --precision f32 --threads 1 --runs 1",
            ["loading, one core", "forward and losses", "backward", "optimizer", "complete step"],
        ),
    ],
)
def test_a_short_run_prints_a_table(command: str, rows: list[str]) -> None:
    name, *flags = command.split()
    module = f"higherhrnet.bench.scripts.{name}"
    process = subprocess.run(
        [sys.executable, "-m", module, *flags], cwd=ROOT, capture_output=True, text=True
    )
    assert process.returncode == 0, process.stderr
    lines = [line for line in process.stdout.splitlines() if line.startswith("| ")]
    assert [line.split("|")[1].strip() for line in lines[1:]] == rows
