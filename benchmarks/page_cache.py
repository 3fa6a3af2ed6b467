"""A page cache that costs the same for everybody.

A virtual machine may give memory that was free for a second back to its host, in large pieces. Who then writes a file waits for
the host: 640 MB that take `cp` 0.25 s right after another file was removed take it 0.3 to 2 s a few seconds later. So every
timed step begins right after a file was written to the same folder and removed.
"""

from __future__ import annotations

from pathlib import Path

MOST = 2 << 30
_BLOCK = bytes(1 << 22)


def warm(folder: Path, nbytes: int) -> None:
    """Write so many bytes to a file of the folder and remove it, 2 GiB at most: more would wait for the disk."""
    scratch = folder / "scratch"
    with open(scratch, "wb", buffering=0) as file:
        for _ in range(min(nbytes, MOST) // len(_BLOCK) + 1):
            file.write(_BLOCK)
    scratch.unlink()
