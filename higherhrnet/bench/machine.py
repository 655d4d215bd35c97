"""The machine that a benchmark runs on, and the memory of a process."""

from __future__ import annotations

import platform
import re
import sys
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path

from higherhrnet.bench.timing import cuda
from higherhrnet.hardware import usable_cores

_PACKAGES = "higherhrnet", "numpy", "opencv-python-headless", "torch", "onnxruntime", "openvino"


@dataclass(frozen=True)
class MachineInfo:
    """The machine and the software that results depend on."""

    processor: str
    cores: int
    system: str
    python: str
    versions: dict[str, str]
    """The versions of installed packages."""

    @classmethod
    def current(cls) -> MachineInfo:
        """The machine that this process runs on."""
        file = Path("/proc/cpuinfo")
        name = (
            re.search(r"model name\s*: (.+)", file.read_text(encoding="utf-8"))
            if file.is_file()
            else None
        )
        processor = name[1] if name else platform.processor()
        versions = {each.name: each.version for each in distributions() if each.name in _PACKAGES}
        system, python = platform.platform(), platform.python_version()
        return cls(processor, usable_cores(), system, python, versions)


def peak_memory() -> dict[str, int]:
    """The most bytes of RAM, and of GPU memory if it uses any, that this process has held."""
    device = cuda()
    gpu = {"gpu": device.max_memory_allocated()} if device else {}
    status = Path("/proc/self/status")
    if status.is_file() and (
        peak := re.search(r"VmHWM:\s*(\d+)", status.read_text(encoding="utf-8"))
    ):
        return {"ram": 1024 * int(peak[1])} | gpu  # getrusage would include the parent's memory
    if sys.platform == "win32":
        return gpu
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return {"ram": unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss} | gpu
