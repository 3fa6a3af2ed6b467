"""The memory that this machine has: what is left of it, and how large a map of a file the system grants."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

_MEMINFO = Path("/proc/meminfo")
OVERCOMMIT = Path("/proc/sys/vm/overcommit_memory")
ANY_MAP = "1"
LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
"""What a container may have, its part of the system's cache included (control groups 2 and 1)."""


def available_memory() -> int:
    """Return bytes that programs can still have, the system's cache among them; 0 where the system does not say."""
    return int(min(_available(), *map(_limit, LIMITS)))


def _available() -> int:
    try:
        return _memory("MemAvailable")
    except (OSError, ValueError, KeyError, IndexError):
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (OSError, ValueError, AttributeError):
        return 0


def _limit(path: Path) -> float:
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):  # no container, or "max"
        return math.inf


def largest_private_map() -> int | None:
    """Return bytes of the largest writable map that Linux grants; None where it grants any, and on other systems."""
    try:
        any_map = OVERCOMMIT.read_text(encoding="ascii").strip() == ANY_MAP
        return None if any_map else _memory("MemTotal", "SwapTotal")
    except (OSError, ValueError, KeyError, IndexError):
        return None


def beyond_memory(tables: Iterable[tuple[str, int]]) -> Iterator[str]:
    """Tell what to warn of, for tables by name and bytes: those that onnxruntime alone could not map on this machine."""
    largest = largest_private_map()
    for table, size in tables:
        if largest is not None and size > largest:
            yield (
                f"{table} takes {size:,} bytes, and this machine has {largest:,} of memory and swap: onnxruntime alone cannot "
                "open the model here (std::bad_alloc). hugectr2onnx.open_session can, or set vm.overcommit_memory=1"
            )


def _memory(*names: str) -> int:
    lines = _MEMINFO.read_text(encoding="ascii").splitlines()
    kilobytes = {name: number.split() for name, _, number in (line.partition(":") for line in lines)}
    return sum(int(kilobytes[name][0]) for name in names) << 10
