"""The command line: output files, exit codes and error messages."""

import io
import json
import platform
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
import pytest
import typeguard
import tyro

from higherhrnet.__main__ import run as run_command_line
from higherhrnet.cli.main import is_default_valid, main
from higherhrnet.cli.predict import predict
from higherhrnet.hardware import usable_cores
from higherhrnet.synthetic.scenes import draw_scene, write_scenes
from tests.conftest import ModelFiles, RunMain

Run = Callable[..., subprocess.CompletedProcess[str]]
Fail = Callable[..., str]
NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e-?\d+)?")


def write_scene(path: Path, seed: int = 0, size: int = 64) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), draw_scene(seed, height=size, width=size).image[:, :, ::-1])
    return path


def write_video(path: Path, frames: int = 6) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 10, (64, 64))
    for seed in range(frames):
        writer.write(draw_scene(seed, height=64, width=64).image)
    writer.release()
    return path


@pytest.fixture
def run(run_main: RunMain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the command line in this process and in the temporary folder."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object, input: str = "") -> subprocess.CompletedProcess[str]:
        monkeypatch.setattr(sys, "stdin", io.StringIO(input))
        return run_main(*arguments)

    return run


@pytest.fixture
def fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Fail:
    """Runs the command line in this process and returns its error message.

    An exception other than InputError fails the test, because it would print a traceback.
    """
    monkeypatch.chdir(tmp_path)

    def fail(*arguments: object) -> str:
        capsys.readouterr()
        with pytest.raises(SystemExit) as exit:
            main(list(map(str, arguments)))
        assert exit.value.code == 1
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert line.startswith("higherhrnet: ")
        return line

    return fail


def read_jsonl(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_predict_writes_results_and_drawings_of_a_folder_with_a_video(
    run: Run, small_model: ModelFiles, tmp_path: Path
) -> None:
    write_scene(tmp_path / "in" / "000123.png")
    write_scene(tmp_path / "in" / "deep" / "a.jpg", size=96)
    write_video(tmp_path / "in" / "clip.mp4")
    result = run(
        "predict", "in", "-m", small_model.onnx, "-o", "out", "--every", 2, "--save-maps", "-v"
    )
    assert result.returncode == 0, result.stderr
    assert "in 2 images and 3 frames" in result.stdout
    assert re.search("(?i)onnx ?runtime|openvino", result.stderr)  # -v
    assert re.search(r"in \d streams", result.stderr) or usable_cores() == 1
    out = tmp_path / "out"
    people = json.loads((out / "predictions.json").read_text())
    entries = read_jsonl(out / "predictions.jsonl")
    assert {p["image_id"] for p in people} <= {123, "deep/a.jpg", "clip.mp4"}
    assert len(people) == sum(len(entry.get("people", ())) for entry in entries)  # type: ignore[misc, arg-type]
    frames = [entry for entry in entries if "frame" in entry]
    assert [entry["frame"] for entry in frames] == [0, 2, 4]
    assert [entry["time"] for entry in frames] == pytest.approx([0, 0.2, 0.4])
    drawn = cv2.imread(str(out / "000123_poses.jpg"))
    assert drawn is not None and drawn.shape == (64, 64, 3)
    assert (out / "deep" / "a_poses.jpg").is_file() and (out / "deep" / "a_maps.jpg").is_file()
    capture = cv2.VideoCapture(str(out / "clip_poses.mp4"))
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 3
    assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(5)
    assert not [path for path in out.rglob("*") if ".part" in path.name]


def test_unreadable_files_are_skipped_with_exit_code_3(
    run: Run, small_model: ModelFiles, tmp_path: Path
) -> None:
    good = write_scene(tmp_path / "good.jpg")
    (tmp_path / "truncated.jpg").write_bytes(good.read_bytes()[:200])
    (tmp_path / "text.jpg").write_text("not an image")
    cv2.imwrite(str(tmp_path / "tiny.png"), np.zeros((1, 1), np.uint8))
    cv2.imwrite(str(tmp_path / "strip.png"), np.zeros((20, 30000), np.uint8))
    names = ["good.jpg", "truncated.jpg", "text.jpg", "tiny.png", "strip.png", "missing.jpg"]
    result = run("predict", *names, "-m", small_model.onnx, "-o", "out")
    assert result.returncode == 3
    assert "in 1 image, 5 skipped" in result.stdout
    for name in names[1:]:
        (line,) = [line for line in result.stderr.splitlines() if name in line]
        assert line.startswith("skipped: ")
    assert run("predict", "text.jpg", "-m", small_model.onnx, "-o", "out2").returncode == 1


LONG = "x" * 300
"""A file name that is too long for any filesystem."""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["predict", "empty", "-m", "MODEL"], "empty"),
        (["predict", "*.nothing", "-m", "MODEL"], "*.nothing"),
        (["predict", "a.png", "-m", "no.onnx"], "no.onnx: no such model file"),
        (["predict", "a.png", "-m", "a.png"], "a.png"),
        (["predict", "a.png", "-m", "w32-512"], "HIGHERHRNET_OFFLINE forbids to download it"),
        (["predict", "a.png", "-m", "MODEL", "--every", "0"], "--every must be at least 1, not 0"),
        (["predict", "a.png", "-m", "MODEL", "--tracking.beta", "2"], "--track"),
        (["predict", "a.png", "-m", "MODEL", "--size", "100"], "size must be a multiple of 32"),
        (["predict", "a.png", "-m", "MODEL", "--scales", "0.5", "2"], "scales must include 1"),
        (["predict", "a.png", "-m", "MODEL", "--threads", "0"], "threads must be at least 1"),
        (["predict", "a.png", "-m", "MODEL", "--min-score", "nan"], "min_score"),
        (["predict", "a.png", "-m", "MODEL", "--min-score", "5"], "min_score"),
        (["predict", "a.png", "-m", "MODEL", "--flip", "--no-flip"], "--flip and --no-flip"),
        (["predict", "a.png", "-m", "MODEL", "--fast", "--scales", "1", "2"], "--fast excludes"),
        (["predict", "a.png", "-m", "MODEL", "--engine", "torch"], "onnxruntime"),
        (["predict"], "name at least one image"),
        (["predict-ray"], "name at least one image or folder"),
        (["predict-ray", "a.png", "--address", "ray://x"], "--address ray://x: use the HOST:PORT"),
        (["predict-ray", "a.png", "--actors", "0"], "--actors must be at least 1, not 0"),
        (["predict-ray", "a.png", "--gpus", "-1"], "--gpus must not be negative"),
        (["predict-ray", "a.png", "--images-per-shard", "0"], "--images-per-shard must be"),
        (["evaluate", "--annotations", "a", "--predictions", "b", "--flip"], "--predictions"),
        (["evaluate", "--annotations", "a", "--resume"], "--resume needs --report"),
        (["evaluate", "--annotations", "a.png", "--predictions", "a.png"], "a.png"),
        (["evaluate", "--annotations", "a.png"], "a.png"),
        (["check-data"], "name at least one dataset"),
        (["check-data", "a.png", "--samples", "0"], "--samples must be at least 1, not 0"),
        (["info", "a.png"], "a.png"),
        (["convert", "a.png", "b.safetensors"], "a.png"),
        (["export", "a.png", "b.onnx"], "a.png"),
        (["export", "a.png", "b.onnx", "--half", "--int8"], "--half and --int8"),
        (["export", "a.png", "b.onnx", "--int8"], "--int8 needs --calibrate"),
        (["download", "nothing"], "nothing"),
        (["scenes", "new", "--skeleton", "dog"], "dog"),
        (["scenes", "new", "--count", "0"], "--count must be at least 1, not 0"),
        (["scenes", "new", "--size", "8"], "--size must be at least"),
        (["scenes", "new", "--people", "3", "1"], "--people must be a minimum and a maximum"),
        (["scenes", "set"], "set already contains a dataset"),
        (["serve", "-m", "no.onnx"], "no.onnx"),
        (["serve", "-m", "MODEL", "--max-queue", "0"], "--max-queue"),
        (["serve", "-m", "MODEL", "--engine", "onnxruntime", "--host", "192.0.2.1"], "192.0.2.1"),
        (["serve", "-m", "MODEL", "--token-file", "empty.txt"], "--token-file empty.txt: "),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_errors_of_the_user_are_reported_in_one_line(
    arguments: list[str], message: str, fail: Fail, small_model: ModelFiles, tmp_path: Path
) -> None:
    write_scene(tmp_path / "a.png")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty.txt").touch()
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "annotations.json").touch()
    assert message in fail(*(str(small_model.onnx) if a == "MODEL" else a for a in arguments))


@pytest.mark.parametrize(
    ("arguments", "path"),
    [
        (["predict", "a.png", "-m", "MODEL", "-o", "a.png/out"], "a.png/out"),
        (["predict", "a.png", "-m", "MODEL", "-o", "file_exists"], "file_exists"),
        (["predict", "a.png", "-m", LONG], LONG),
        (["predict-ray", LONG, "-m", "MODEL"], LONG),
        (["predict-ray", "a.png", "-m", LONG], LONG),
        (["evaluate", "--annotations", "set", "--predictions", "set"], "set"),
        (["evaluate", "--annotations", "TRUTH", "--predictions", "set"], "set"),
        (["evaluate", "--annotations", "TRUTH", "--images", LONG, "-m", "MODEL"], LONG),
        (["evaluate", "--annotations", "TRUTH", "-m", "MODEL", "--json", "a.png/x"], "a.png/x"),
        (["evaluate", "--annotations", "TRUTH", "-m", "MODEL", "--report", "a.png/x"], "a.png/x"),
        (["check-data", f"TRUTH,{LONG}"], LONG),
        (["check-data", "TRUTH", "-o", "a.png/x"], "a.png/x"),
        (["train", "coco-w32-512", "--train", "TRUTH", "--out", LONG, "--device", "cpu"], LONG),
        (["train", "coco-w32-512", "--train", "TRUTH", "--skeleton", LONG], LONG),
        (["info", LONG], LONG),
        (["convert", LONG, "b.safetensors"], LONG),
        (["export", "WEIGHTS", "a.png/x.onnx"], "a.png/x.onnx"),
        (["export", "default", "q.onnx", "--int8", "--calibrate", LONG], LONG),
        (["scenes", "a.png/x"], "a.png/x"),
        (["scenes", LONG], LONG),
        (["scenes", "new", "--skeleton", LONG], LONG),
        (["serve", "-m", "MODEL", "--token-file", "a.png/x"], "a.png/x"),
    ],
    ids=lambda value: " ".join(value).replace(LONG, "LONG") if isinstance(value, list) else "",
)
def test_paths_that_cannot_be_used_are_reported_in_one_line(
    arguments: list[str], path: str, fail: Fail, small_model: ModelFiles, tmp_path: Path
) -> None:
    write_scene(tmp_path / "a.png")
    (tmp_path / "file_exists").touch()
    truth = write_scenes(tmp_path / "set", 2, height=64, width=64)
    for name, value in (
        ("MODEL", small_model.onnx), ("WEIGHTS", small_model.safetensors), ("TRUTH", truth),
    ):  # fmt: skip
        arguments = [argument.replace(name, str(value)) for argument in arguments]
    assert re.search(rf"{re.escape(path)}.*: ", fail(*arguments))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux")
def test_a_full_disk_is_reported_in_one_line(tmp_path: Path) -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        command = [sys.executable, "-m", "higherhrnet", "models"]
        result = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert result.returncode == 1
    assert result.stderr == "higherhrnet: the output cannot be written: the disk is full\n"


@pytest.mark.parametrize(
    "arguments", [["predict", "a.png", "--engine", "warp"], ["fly"], ["models", "--engine", "x"]]
)
def test_invalid_flags_exit_with_code_2(arguments: list[str], run: Run) -> None:
    assert run(*arguments).returncode == 2


def test_standard_input_lists_images(run: Run, small_model: ModelFiles, tmp_path: Path) -> None:
    names = [write_scene(tmp_path / f"{i}.png", i).name for i in range(3)]
    result = run("predict", "-", "-m", small_model.onnx, "--no-draw", input="\n".join(names))
    assert result.returncode == 0, result.stderr
    entries = read_jsonl(tmp_path / "poses" / "predictions.jsonl")
    assert [entry["image_id"] for entry in entries] == [0, 1, 2]
    assert not list((tmp_path / "poses").glob("*.jpg"))


def test_a_list_on_standard_input_is_utf_8_whatever_the_code_page(
    run_main: RunMain, small_model: ModelFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = str(write_scene(tmp_path / "grün.png")).encode()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content), encoding="cp1252"))
    result = run_main("predict", "-", "-m", small_model.onnx, "--no-draw", "-o", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    (entry,) = read_jsonl(tmp_path / "out" / "predictions.jsonl")
    assert entry["file_name"] == "grün.png"


@pytest.mark.parametrize("arguments", [["--version"], ["models", "--help"]])
def test_closed_output_is_discarded(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Python has no `sys.stdout` if the program was started with closed output, by `>&-`."""
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    with pytest.raises(SystemExit) as exit:
        main(arguments)
    assert exit.value.code == 0


def test_an_interruption_while_modules_are_imported_prints_no_traceback(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Interruption:
        def find_spec(self, name: str, *_: object) -> None:
            if name == "higherhrnet.cli.main":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "higherhrnet.cli.main")
    monkeypatch.setattr(sys, "meta_path", [Interruption(), *sys.meta_path])
    with pytest.raises(SystemExit) as exit:
        run_command_line()
    assert exit.value.code == 130


def test_closed_standard_input_lists_no_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(SystemExit) as exit:
        main(["predict", "-"])
    assert exit.value.code == 1
    assert re.fullmatch(r"higherhrnet: standard input lists no file.*\n", capsys.readouterr().err)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
def test_a_full_disk_is_reported_by_version(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        monkeypatch.setattr(sys, "stdout", full)
        with pytest.raises(SystemExit) as exit:
            main(["--version"])
        monkeypatch.undo()
        with suppress(OSError):
            full.close()
    assert exit.value.code == 1
    assert capsys.readouterr().err.endswith("the disk is full\n")


def test_a_closed_pipe_ends_the_command_without_an_error() -> None:
    command = [sys.executable, "-m", "higherhrnet", "models"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout and process.stderr
    process.stdout.close()
    assert (process.stderr.read(), process.wait()) == ("", 0)
    process.stderr.close()


def test_inference_flags_change_the_predictions(
    run: Run, small_model: ModelFiles, tmp_path: Path
) -> None:
    write_scene(tmp_path / "a.png")
    people = {}
    for flag in ("--flip", "--no-flip", "--fast", "--min-score=0.99"):
        out = tmp_path / flag.strip("-")
        run("predict", "a.png", "-m", small_model.onnx, "-o", out, flag, "--format", "jsonl")
        assert not (out / "predictions.json").exists()
        (entry,) = read_jsonl(out / "predictions.jsonl")
        people[flag] = [float(number) for number in NUMBER.findall(json.dumps(entry["people"]))]
    # Kernels may depend on the alignment of memory, so processes agree to rounding only.
    expected = pytest.approx(people["--no-flip"], rel=1e-5, abs=2e-3)
    assert people["--flip"] != expected and people["--fast"] == expected
    assert people["--min-score=0.99"] == []


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals of processes")
@pytest.mark.parametrize("stop", ["SIGINT", "SIGTERM", "SIGKILL"])
def test_an_interrupted_run_is_resumed(
    stop: str, run: Run, small_model: ModelFiles, tmp_path: Path
) -> None:
    count = 120
    for i in range(count):
        write_scene(tmp_path / "in" / f"{i}.png", i, size=128)
    command = [sys.executable, "-m", "higherhrnet", "predict", "in", "-m", str(small_model.onnx)]
    log, results = tmp_path / "poses" / "predictions.jsonl", tmp_path / "poses" / "predictions.json"
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE)
    while not log.is_file() or log.read_text().count("\n") < 3:
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.Signals[stop])
    process.communicate()
    done = [line for line in log.read_text().splitlines(keepends=True) if line.endswith("\n")]
    assert 3 <= len(done) < count
    if stop != "SIGKILL":
        assert process.returncode == 130
        assert {p["image_id"] for p in json.loads(results.read_text())} <= set(range(count))
    with log.open("a") as file:
        file.write('{"image_id": 119, "file_na')  # an incomplete line, as after a power failure
    result = run("predict", "in", "-m", small_model.onnx, "--resume")
    assert result.returncode == 0, result.stderr
    assert f"in {count - len(done)} images, {len(done)} already finished" in result.stdout
    entries = read_jsonl(log)
    assert sorted(entry["image_id"] for entry in entries) == list(range(count))  # type: ignore[type-var]
    assert json.loads(results.read_text()) == [p for entry in entries for p in entry["people"]]  # type: ignore[attr-defined]


def test_a_partly_processed_video_is_processed_again(
    run: Run, small_model: ModelFiles, tmp_path: Path
) -> None:
    write_video(tmp_path / "clip.mp4")
    run("predict", "clip.mp4", "-m", small_model.onnx)
    log = tmp_path / "poses" / "predictions.jsonl"
    complete = log.read_text()
    log.write_text("".join(complete.splitlines(keepends=True)[:3]))
    run("predict", "clip.mp4", "-m", small_model.onnx, "--resume")
    again = log.read_text()
    assert NUMBER.sub("0", again) == NUMBER.sub("0", complete)
    # Kernels may depend on the alignment of memory, so processes agree to rounding only.
    numbers, expected = ([*map(float, NUMBER.findall(text))] for text in (again, complete))
    assert numbers == pytest.approx(expected, rel=1e-5, abs=2e-3)
    result = run("predict", "clip.mp4", "-m", small_model.onnx, "--resume")
    assert "1 already finished" in result.stdout


def test_drawings_of_images_that_differ_only_in_their_suffix_are_kept_apart(
    run: Run, small_model: ModelFiles, tmp_path: Path
) -> None:
    write_scene(tmp_path / "in" / "a.png", 1)
    write_scene(tmp_path / "in" / "a.jpg", 2)
    run("predict", "in", "-m", small_model.onnx, "-o", "out")
    drawings = sorted(path.name for path in (tmp_path / "out").glob("*.jpg"))
    assert drawings == ["a.jpg_poses.jpg", "a.png_poses.jpg"]


def test_convert_info_and_models(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    import torch

    from higherhrnet.network.higherhrnet import HigherHRNet

    torch.save(HigherHRNet(4).state_dict(), tmp_path / "w4_64.pth")
    result = run("convert", "w4_64.pth", "a.safetensors", "--input-size", 64)
    assert result.returncode == 0 and "width 4" in result.stdout
    description = run("info", "a.safetensors").stdout
    assert "parameters" in description and "multiply-adds" in description
    assert "w4_64.pth" in description
    assert "w32-512" in run("models").stdout


@pytest.mark.parametrize("terminal", [True, False])
def test_a_more_accurate_model_is_suggested_on_a_terminal(
    terminal: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    image = write_scene(tmp_path / "a.png")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    with pytest.raises(SystemExit):
        main(["predict", str(image), "--out", str(tmp_path / "out"), "--fast", "--no-draw"])
    suggestions = [line for line in capsys.readouterr().err.split("\n") if "--model" in line]
    assert suggestions == terminal * [
        "A more accurate model: --model w32-512 (AP 67.1 on COCO val2017; downloads 115 MB once)"
    ]


@pytest.mark.parametrize(
    "annotation",
    [int | None, Path | None, tuple[str, ...], tuple[int, int], str | int, list[int], predict],
)
@pytest.mark.parametrize("default", [None, (), (1, 2), ("a",), 1, [1], tyro.MISSING_NONPROP])
def test_defaults_are_checked_as_typeguard_checks_them(annotation: object, default: object) -> None:
    try:
        typeguard.check_type(default, annotation)
        expected = True
    except (typeguard.TypeCheckError, TypeError):
        expected = False
    assert is_default_valid(annotation, default) == expected


COUNT_ARENAS = """
import ctypes, sys, threading
from contextlib import suppress
from pathlib import Path
from higherhrnet.__main__ import run
sys.argv[1:] = ["--version"]
with suppress(SystemExit):
    run()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.fopen.restype = ctypes.c_void_p
barrier = threading.Barrier(4)
def allocate():
    barrier.wait()
    libc.malloc(1000)
    barrier.wait()
threads = [threading.Thread(target=allocate) for _ in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
file = ctypes.c_void_p(libc.fopen(sys.argv[0].encode() + b"malloc.xml", b"w"))
libc.malloc_info(0, file)
libc.fclose(file)
print(Path(sys.argv[0] + "malloc.xml").read_text().count("<heap nr="))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
@pytest.mark.parametrize(("variable", "expected"), [(None, {1}), ("4", {2, 3, 4})])
def test_threads_share_one_arena_unless_a_variable_sets_their_number(
    variable: str | None, expected: set[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MALLOC_ARENA_MAX", raising=False)
    if variable:
        monkeypatch.setenv("MALLOC_ARENA_MAX", variable)
    script = tmp_path / "script.py"
    script.write_text(COUNT_ARENAS)
    result = subprocess.run([sys.executable, script], capture_output=True, text=True)
    assert int(result.stdout.split()[-1]) in expected, result.stderr
