"""The hardware that is found, and the defaults that depend on it, with other hardware faked."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from higherhrnet import hardware
from higherhrnet.engines.base import EngineOptions
from higherhrnet.engines.load import load_engine
from higherhrnet.hardware import may_have_gpu, usable_cores
from tests.conftest import ModelFiles

EXAMPLE = Path(__file__).parent.parent / "examples" / "drawn.onnx"


@pytest.fixture
def cgroup_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:  # noqa: ANN401
    """Returns a function that computes the cores of a machine with 64 and these cgroup files."""

    def cores(membership: str, files: dict[str, str]) -> int:
        for name, text in files.items():
            path = tmp_path / "cgroup" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        (tmp_path / "self").write_text(membership)
        monkeypatch.setattr(hardware, "_CGROUPS", tmp_path / "cgroup")
        monkeypatch.setattr(hardware, "_MEMBERSHIP", tmp_path / "self")
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
        return usable_cores()

    return cores


@pytest.mark.parametrize(
    ("membership", "files", "expected"),
    [
        ("0::/\n", {"cpu.max": "max 100000\n"}, 64),
        ("0::/\n", {"cpu.max": "200000 100000\n"}, 2),  # docker run --cpus 2
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 2),
        ("0::/\n", {"cpu.max": "10000 100000\n"}, 1),
        ("0::/\n", {"cpu.max": "6400000 50000\n"}, 64),  # more than there are
        ("0::/\n", {"cpu.max": ""}, 64),
        ("0::/\n", {}, 64),
        ("0::/a/b\n", {"a/cpu.max": "300000 100000", "a/b/cpu.max": "max 100000"}, 3),
        ("0::/docker/host/path\n", {"cpu.max": "400000 100000"}, 4),  # the path is the host's
        ("1:cpu,cpuacct:/\n", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "1000"}, 64),
        (
            "2:memory:/x\n1:cpu,cpuacct:/y\n0::/\n",
            {"cpu/y/cpu.cfs_quota_us": "2500\n", "cpu/y/cpu.cfs_period_us": "1000\n"},
            3,
        ),
    ],
)
def test_cores_are_limited_by_the_cpu_time_of_the_control_groups(
    membership: str,
    files: dict[str, str],
    expected: int,
    cgroup_cores: Any,  # noqa: ANN401
) -> None:
    assert cgroup_cores(membership, files) == expected


def test_cores_are_counted_on_systems_without_affinity_and_control_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hardware, "_MEMBERSHIP", tmp_path / "missing")
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    assert usable_cores() == 7
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert usable_cores() == 1


@pytest.mark.skipif(sys.platform != "linux", reason="drivers are searched only on Linux")
def test_a_gpu_is_excluded_only_if_no_driver_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hardware, "_CUDA_DRIVER", "libmissing.so.1")
    monkeypatch.setattr(hardware, "_ROCM_DRIVER", tmp_path / "missing")
    assert not may_have_gpu()
    monkeypatch.setattr(hardware, "_ROCM_DRIVER", tmp_path)
    assert may_have_gpu()
    monkeypatch.setattr(hardware, "_ROCM_DRIVER", tmp_path / "missing")
    monkeypatch.setattr(hardware, "_CUDA_DRIVER", "libc.so.6")  # any library that can be loaded
    assert may_have_gpu()


@pytest.mark.parametrize(
    ("device", "onednn", "bf16", "amx", "gpu", "expected"),
    [
        ("cpu", True, True, False, False, True),  # AMD Zen 4, Intel Cooper Lake
        ("cpu", True, False, True, False, True),
        ("cpu", True, False, False, True, False),  # AVX-512 without bf16, beside a GPU
        ("cpu", False, True, True, True, False),  # ONEDNN_MAX_CPU_ISA=AVX2
        ("cpu", None, True, True, False, False),  # PyTorch without oneDNN, as on macOS
        ("cuda", None, False, False, True, True),
        ("cuda", True, True, True, False, False),  # compute capability 7
        ("mps", None, True, True, True, False),
    ],
)
def test_bf16_needs_instructions_that_pytorch_uses(
    device: str,
    onednn: bool | None,
    bf16: bool,
    amx: bool,
    gpu: bool,
    expected: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch = pytest.importorskip("torch")
    capabilities = {"avx512_bf16": bf16, "amx_bf16": amx}
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: gpu)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: onednn is not None)
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: onednn)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert hardware.computes_bf16(device) is expected
    if onednn and not amx:  # before PyTorch 2.11
        monkeypatch.delattr(torch.cpu, "get_capabilities")
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: bf16)
        assert hardware.computes_bf16(device) is expected


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino", "torch"])
def test_the_network_uses_all_cores_by_default(
    engine: Any,  # noqa: ANN401
    small_model: ModelFiles,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip(engine)
    monkeypatch.setattr("higherhrnet.engines.load.usable_cores", lambda: 3)
    model = small_model.safetensors if engine == "torch" else small_model.onnx
    options = EngineOptions(str(model), engine)
    assert load_engine(options)[0].description.endswith(", 3 threads")
    assert load_engine(replace(options, threads=1))[0].description.endswith(
        (", 1 thread", "1 threads")
    )


@pytest.mark.parametrize(("cores", "streams"), [(1, 1), (2, 2), (4, 4), (64, 4)])
def test_many_images_use_up_to_four_streams(
    cores: int, streams: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from higherhrnet.cli.options import InferenceOptions

    monkeypatch.setattr("higherhrnet.engines.load.usable_cores", lambda: cores)
    options = InferenceOptions(str(EXAMPLE), "onnxruntime")
    assert options.load().processing.streams == streams
    assert options.load(streams=1).processing.streams == 1


@pytest.mark.parametrize(
    ("cores", "local_processes", "expected"),
    [(1, 1, 0), (2, 1, 1), (8, 1, 7), (64, 1, 16), (8, 4, 1), (8, 8, 0), (2, 4, 0), (64, 2, 16)],
)
def test_one_core_remains_for_each_training_process(
    cores: int, local_processes: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    from higherhrnet.config.data import DataConfig
    from higherhrnet.data.loader import loader_workers

    monkeypatch.setattr("higherhrnet.data.loader.usable_cores", lambda: cores)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(local_processes))
    assert loader_workers(DataConfig()) == expected
    assert loader_workers(DataConfig(workers=5)) == 5


@pytest.mark.parametrize("native", [False, True])
def test_bench_measures_bf16_by_default_only_where_it_is_not_emulated(
    native: bool, small_model: ModelFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    from higherhrnet.bench.pipeline import Pipeline, Task
    from higherhrnet.bench.run import _list_images
    from higherhrnet.bench.settings import BenchSettings
    from higherhrnet.errors import InputError

    monkeypatch.setattr("higherhrnet.bench.pipeline.computes_bf16", lambda device: native)
    image = str(EXAMPLE.with_name("scene.png"))

    def description(settings: BenchSettings) -> str:
        sources = _list_images(settings, Path())
        task = Task("torch", "bf16", small_model.safetensors, sources, settings, 64)
        return Pipeline(task).describe().description

    by_default = BenchSettings(images=(image,), threads=1)
    assert "bf16" in description(replace(by_default, precisions=("bf16",)))
    if native:
        assert "bf16" in description(by_default)
    else:
        with pytest.raises(InputError, match=r"no bf16 instructions.* use --precisions bf16$"):
            description(by_default)
