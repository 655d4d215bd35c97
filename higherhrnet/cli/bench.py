"""bench: measures the speed and memory of each engine."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from higherhrnet.bench.settings import BenchSettings
from higherhrnet.cli.options import write_json
from higherhrnet.config.flags import flag


def bench(
    settings: Annotated[BenchSettings, arg(name="")] = BenchSettings(),
    json: Annotated[Path | None, flag("not written", "PATH")] = None,
) -> int:
    """Measure latency, throughput and memory of each engine on this machine.

    Every engine is compared with the reference implementation, and all decode with its published
    settings, at one scale. Models that the reference implementation cannot decode, such as the
    bundled one, are measured without the comparison, and the output gives the reason.

    Args:
        settings: What is measured.
        json: Write all measurements to this JSON file as well.
    """
    from higherhrnet.bench.machine import MachineInfo
    from higherhrnet.bench.run import run_bench
    from higherhrnet.bench.tables import format_result

    machine = MachineInfo.current()
    cores = f"{machine.processor}, {machine.cores} cores"
    print(f"Model: {settings.model}; processor: {cores}", flush=True)
    results = []
    for result in run_bench(settings):
        print(f"\n{format_result(result, settings.runs)}", flush=True)
        results.append(asdict(result))
    if json:
        content = {"machine": asdict(machine), "settings": asdict(settings), "results": results}
        write_json(json, content)
    return 0
