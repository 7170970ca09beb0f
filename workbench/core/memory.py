"""How much memory this process may use."""

from __future__ import annotations

from pathlib import Path

GIB = 2**30
_FALLBACK = 2 * GIB  # where the system does not say


def available() -> int:
    """Bytes that can still be used: what the system has available, and what the process's control group leaves."""
    found = [_of_system(), *_of_groups()]
    return min(found)


def _of_system() -> int:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError):  # not Linux
        return _FALLBACK


def _of_groups() -> list[int]:
    """What the limits of a container leave, in versions 2 and 1 of Linux's control groups."""
    pairs = (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    )
    left = []
    for limit, used in pairs:
        try:
            left.append(int(Path(limit).read_text()) - int(Path(used).read_text()))
        except (OSError, ValueError):  # no such group, or "max": no limit
            continue
    return [max(0, one) for one in left]
