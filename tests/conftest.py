"""Fixtures that several tests share, and the check that no test is skipped without permission.

If the environment variable FAIL_ON_SKIP is set, as in `.ci/run`, a test that is skipped for a
reason other than the permitted ones fails.
"""

import os
import re
import signal
import sys
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from subprocess import CompletedProcess
from typing import NamedTuple

import pytest
from filelock import FileLock

from higherhrnet.cli.main import main
from higherhrnet.hardware import usable_cores

if workers := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 0)):
    # The processes of pytest-xdist share the cores, also with the processes that they start.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, usable_cores() // workers)))
os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # do not occupy cores while waiting

HIDE_PACKAGES = """
import sys
from importlib.machinery import PathFinder
find = PathFinder.find_spec
PathFinder.find_spec = classmethod(
    lambda cls, name, *rest: None if name.split(".")[0] in {names!r} else find(name, *rest)
)
"""
"""Python code that hides installed packages in its process; `names` is the list of packages."""


RunMain = Callable[..., CompletedProcess[str]]
BuildOnce = Callable[[str, Callable[[Path], None]], Path]

PERMITTED_SKIPS = (
    r"this processor cannot compute in (bf16|f16)",
    r"needs \.\./shared",
    r"root may read all files",
)
"""Regular expressions of the reasons for which tests may be skipped on CI's machines."""


def pytest_configure() -> None:
    """Forbids downloads, restores Ctrl-C, and protects the file in which pytest captures stderr.

    Background jobs of a shell ignore Ctrl-C. absl, which TensorBoard imports, keeps the stderr of
    the time at which it is imported, and closes it when uvicorn configures logging.
    """
    os.environ["HIGHERHRNET_OFFLINE"] = "1"
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    with suppress(ImportError):
        from absl import logging

        logging.get_absl_handler().python_handler.stream = sys.__stderr__


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Moves files with slow tests to the front, so that all processes end at about the same time.

    Each process runs whole files (`--dist loadfile`).
    """
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])


Report = pytest.TestReport | pytest.CollectReport


def _fail_if_skipped(report: Report) -> None:
    """Changes a report of a skip whose reason is not permitted to one of a failure."""
    if not (os.environ.get("FAIL_ON_SKIP") and report.skipped) or hasattr(report, "wasxfail"):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    if not any(re.search(pattern, reason) for pattern in PERMITTED_SKIPS):
        report.outcome = "failed"
        report.longrepr = (
            f"{report.nodeid}: {reason}\n"
            "FAIL_ON_SKIP is set, and PERMITTED_SKIPS in tests/conftest.py lists no such reason."
        )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Checks the reasons of skipped tests."""
    report = yield
    _fail_if_skipped(report)
    return report


def _skip_if_extra_is_missing(report: pytest.CollectReport) -> None:
    """Changes a failed import of a package that is not installed to a skip."""
    missing = r"^E +ModuleNotFoundError: No module named '(?!higherhrnet|tests|docs)(\w+)"
    match = re.search(missing, str(report.longrepr), re.MULTILINE) if report.failed else None
    if match and find_spec(match[1]) is None:
        report.outcome = "skipped"
        report.longrepr = (report.nodeid, 0, f"Skipped: needs {match[1]}")


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Skips modules that need a missing extra, and checks the reasons of skipped modules."""
    report = yield
    _skip_if_extra_is_missing(report)
    _fail_if_skipped(report)
    return report


@pytest.fixture(autouse=True)
def _restore_sigterm() -> Iterator[None]:
    """Removes the handler of SIGTERM that the command line installs, after each test.

    It raises KeyboardInterrupt. A process that a later test forks would inherit it, and ignore the
    only SIGTERM of `multiprocessing.Pool` if that arrives in a function in which Python discards
    exceptions, so that the pool would wait for this process forever.
    """
    yield
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


@pytest.fixture
def run_main(capfd: pytest.CaptureFixture[str]) -> RunMain:
    """Runs the command line in this process, which saves the seconds of its imports.

    An exception other than InputError fails the test, because it would print a traceback.
    """

    def run(*arguments: object) -> CompletedProcess[str]:
        words = [*map(str, arguments)]
        capfd.readouterr()
        with pytest.raises(SystemExit) as exit_info:
            main(words)
        assert exit_info.value.code is None or isinstance(exit_info.value.code, int)
        return CompletedProcess(words, exit_info.value.code or 0, *capfd.readouterr())

    return run


@pytest.fixture(scope="session")
def build_once(tmp_path_factory: pytest.TempPathFactory) -> BuildOnce:
    """Fills a folder with files that all processes of the test run share.

    The first process that asks for a name fills the folder; the others wait for it.
    """
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent

    def build(name: str, fill: Callable[[Path], None]) -> Path:
        folder, done = shared / name, shared / f"{name}.done"
        with FileLock(shared / f"{name}.lock"):
            if not done.exists():
                folder.mkdir(exist_ok=True)
                fill(folder)
                done.touch()
        return folder

    return build


@pytest.fixture(scope="session")
def golden() -> Path:
    """The folder of arrays that the reference implementation computed."""
    return Path(os.environ.get("HIGHERHRNET_GOLDEN", Path(__file__).parent / "golden"))


@pytest.fixture(scope="session")
def golden_dekr() -> Path:
    """The folder of arrays that the code of DEKR's authors computed."""
    folder = Path(__file__).parent / "golden_dekr"
    return Path(os.environ.get("HIGHERHRNET_GOLDEN_DEKR", folder))


class ModelFiles(NamedTuple):
    safetensors: Path
    onnx: Path


@pytest.fixture(scope="session")
def small_model(build_once: BuildOnce) -> ModelFiles:
    """A small untrained network for 64 pixels whose heatmaps have peaks above the threshold."""
    folder = build_once("small_model", write_small_model)
    return ModelFiles(folder / "small.safetensors", folder / "small.onnx")


@pytest.fixture(scope="session")
def small_offset_model(build_once: BuildOnce) -> ModelFiles:
    """A small untrained network for 64 pixels that predicts offsets and finds several people."""
    folder = build_once("small_offset_model", write_small_offset_model)
    return ModelFiles(folder / "small.safetensors", folder / "small.onnx")


def write_small_offset_model(folder: Path) -> None:
    """Writes the files of `small_offset_model`."""
    torch = pytest.importorskip("torch")
    from higherhrnet.config.header import Header
    from higherhrnet.config.inference import InferenceConfig
    from higherhrnet.config.model import InputConfig, ModelConfig
    from higherhrnet.graph.export import export_onnx
    from higherhrnet.network import checkpoint
    from higherhrnet.network.dekr import DEKR

    torch.manual_seed(0)
    config = ModelConfig(4, modules=(1, 1, 1), blocks=1, head="offsets")
    model = DEKR(config).eval()
    for name, values in model.state_dict().items():
        if name.endswith("running_var"):
            values.uniform_(0.5, 1.5)
        elif name.endswith(("running_mean", "bias")):
            values.uniform_(-0.1, 0.1)
        elif values.ndim == 4 and "adapt_conv" not in name:
            is_affine = "transform_matrix_conv" in name or "translation_conv" in name
            scale = 0.03 if is_affine else (2 / values[0].numel()) ** 0.5
            torch.nn.init.normal_(values, std=scale)
    with torch.no_grad():
        heatmaps, offsets = model(torch.randn(1, 3, 64, 64))
        model.get_parameter("head_heatmap.1.weight").div_(8 * heatmaps.std())
        model.get_parameter("head_heatmap.1.bias").add_(0.5)
        for final in model.offset_final_layer:
            final.weight /= offsets.std() / 3
    header = Header(config, input=InputConfig(64), inference=InferenceConfig(align_flip=True))
    checkpoint.save(folder / "small.safetensors", model, header)
    export_onnx(folder / "small.onnx", checkpoint.to_arrays(model), header)


def write_small_model(folder: Path) -> None:
    """Writes the files of `small_model`.

    It has one module and block per stage, because the export takes seconds for every block. The
    heatmaps are lowered, so that few peaks are above the threshold: the tags of an untrained
    network make a person of nearly every peak, and each person is refined.
    """
    torch = pytest.importorskip("torch")
    from higherhrnet.config.header import Header
    from higherhrnet.config.model import InputConfig, ModelConfig
    from higherhrnet.graph.export import export_onnx
    from higherhrnet.network import checkpoint
    from higherhrnet.network.higherhrnet import HigherHRNet

    torch.manual_seed(0)
    config = ModelConfig(4, modules=(1, 1, 1), blocks=1, deconv_blocks=1)
    model = HigherHRNet.from_config(config).eval()
    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.ConvTranspose2d):
            torch.nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    with torch.no_grad():
        for final, maps in zip(model.final_layers, model(torch.randn(1, 3, 64, 64)), strict=True):
            final.weight /= 4 * maps[:, :17].std()
            final.get_parameter("bias")[:17] -= 0.1
    header = Header(config, input=InputConfig(64))
    checkpoint.save(folder / "small.safetensors", model, header)
    export_onnx(folder / "small.onnx", checkpoint.to_arrays(model), header)
