"""How the benchmarks take time: the sides in turn, ratios pair by pair, and a dated line in the history."""

from __future__ import annotations

import datetime
import json
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HISTORY = Path(__file__).with_name("history.jsonl")


@dataclass(frozen=True)
class Timings:
    """Seconds of each side in each round."""

    rounds: Mapping[str, list[float]]

    def seconds(self, side: str) -> float:
        """Median over the rounds."""
        return statistics.median(self.rounds[side])

    def ratio(self, slower: str, faster: str) -> float:
        """Seconds of the one over those of the other in the same round; median over the rounds."""
        pairs = zip(self.rounds[slower], self.rounds[faster], strict=True)
        return statistics.median(one / other for one, other in pairs)


def interleaved(sides: Mapping[str, Callable[[], object]], rounds: int = 5) -> Timings:
    """Time every side once a round, in turn, after one untimed call of each.

    What else the machine does in the meantime then slows the sides of a round alike.
    """
    for call in sides.values():
        call()
    found: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds):
        names = list(sides) if number % 2 == 0 else list(sides)[::-1]
        for name in names:
            begun = time.perf_counter()
            sides[name]()
            found[name].append(time.perf_counter() - begun)
    return Timings(found)


def peak_gb() -> float:
    """The largest resident size of this process so far.

    Linux's own count for the process's memory: ``ru_maxrss`` begins with what the parent held when it started it.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 2**20
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def processor() -> str:
    """The processor's name and what it multiplies in hardware, such as ``Intel Xeon (avx512_bf16, amx_bf16)``."""
    import torch

    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").is_file() else []
    name = next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor()
    )
    able = torch.cpu.get_capabilities()
    kinds = [kind for kind in ("avx2", "avx512_bf16", "amx_bf16", "bf16") if able.get(kind)]
    return f"{name} ({', '.join(kinds)})"


def report(benchmark: str, figures: Mapping[str, Any]) -> None:
    """Print the figures as one JSON object, and append them to the history with date, processor and threads."""
    import torch

    from workbench.core.stamp import code_version

    whole = {
        "benchmark": benchmark,
        "date": datetime.date.today().isoformat(),
        "processor": processor(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "code": code_version(),
        **{name: float(f"{value:.4g}") if isinstance(value, float) else value for name, value in figures.items()},
    }
    with HISTORY.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(whole) + "\n")
    print(json.dumps(whole))
