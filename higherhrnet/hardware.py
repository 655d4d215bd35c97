"""The hardware that this process may use."""

from __future__ import annotations

import math
import os
import sys
from ctypes import CDLL
from pathlib import Path, PurePosixPath

_CGROUPS = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")
_CUDA_DRIVER = "libcuda.so.1"
_ROCM_DRIVER = Path("/dev/kfd")


def usable_cores() -> int:
    """Returns the number of CPU cores that this process may use.

    It is limited by the process's CPU affinity and, on Linux, by the CPU time of its control groups
    (`docker run --cpus`, CPU limits of Kubernetes), rounded up to whole cores.
    """
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    return max(1, math.ceil(min(cores, _cgroup_cores())))


def _cgroup_cores() -> float:
    """Returns the number of cores whose CPU time the control groups grant; without a limit, inf."""
    try:
        memberships = _MEMBERSHIP.read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        return math.inf
    limits = [math.inf]
    for _, controllers, path in (line.split(":", 2) for line in memberships):
        if controllers and "cpu" not in controllers.split(","):
            continue
        # In a container, the path may be that of the host, where only the root is visible.
        for group in (PurePosixPath(path), *PurePosixPath(path).parents):
            if controllers:  # version 1
                folder = _CGROUPS / "cpu" / group.relative_to("/")
                texts = _read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")
            else:
                text = _read(_CGROUPS / group.relative_to("/") / "cpu.max")
                texts = text.partition(" ")[::2]
            if all(text.strip().isdigit() for text in texts):  # not max or -1
                limits.append(int(texts[0]) / int(texts[1]))
    return min(limits)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""


def may_have_gpu() -> bool:
    """Returns False if there is certainly no GPU that PyTorch uses, without importing PyTorch.

    On Linux, the driver of NVIDIA or AMD is searched; on other systems the result is True. PyTorch
    takes 2 s of processor time to import.
    """
    if sys.platform != "linux" or _ROCM_DRIVER.exists():
        return True
    try:
        CDLL(_CUDA_DRIVER)
    except OSError:
        return False
    return True


def computes_bf16(device: str) -> bool:
    """Returns whether PyTorch uses bf16 instructions of a device.

    Without such instructions bf16 is emulated, which is slower than f32: 12 to 45 times in the
    convolutions of a training step with AVX2 only. This function needs PyTorch.

    Args:
        device: cpu, cuda or mps. The result is False for mps, because PyTorch does not report
            whether it has such instructions, and for Arm processors, whose speed was not measured.
    """
    import torch

    if device == "cuda":  # compute capability 8.0 and higher
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device != "cpu" or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    # oneDNN, which computes the convolutions, may be limited with ONEDNN_MAX_CPU_ISA.
    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return False
    if not hasattr(torch.cpu, "get_capabilities"):  # before PyTorch 2.11
        return bool(torch.cpu._is_avx512_bf16_supported())
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
