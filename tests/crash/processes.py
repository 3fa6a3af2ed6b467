"""Saves in processes of their own that are killed, that meet, or whose disk or sources fail; run as a program for the figures.

python -m tests.crash.processes kills 2000
python -m tests.crash.processes writers 200
python -m tests.crash.processes full-disk
python -m tests.crash.processes shrinking 1000
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from hugectr2onnx.backend.saving.folder import clean_folder
from hugectr2onnx.backend.saving.save import save
from hugectr2onnx.errors import FeedError, OutputError, WeightsError
from tests.backend.saving.models import model_of
from tests.crash.promise import LAYOUTS, NAME, assert_tidy, make, value_of

SAVED, REFUSED = 0, 7
LARGEST = 20_000_000
"""Rows of a table of 240 MB, which is put in order block by block."""


def child(work: Callable[[], Any], refusals: tuple[type[Exception], ...] = ()) -> int:
    """Run code in a forked process; its number. It ends with SAVED, REFUSED, or 1 and a traceback."""
    number = os.fork()
    if number:
        return number
    code = 1
    try:
        work()
        code = SAVED
    except refusals:
        code = REFUSED
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def ended(number: int) -> int:
    """The exit code of a child; negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])


def kills(folder: Path, count: int, seed: int = 0) -> Counter[str]:
    """Kill saves of changing layouts at random times; after each, a whole model stands and later saves are not refused."""
    generator, found = random.Random(seed), Counter[str]()
    make(folder / "models", LAYOUTS[0], 1)

    def work() -> None:
        while True:
            LAYOUTS[generator.randrange(len(LAYOUTS))].save(folder / "models", generator.randrange(1, 6))

    for number in range(count):
        generator.seed(f"{seed} {number}")
        process = child(work)
        time.sleep(generator.random() * 0.3)
        os.kill(process, signal.SIGKILL)
        assert ended(process) == -signal.SIGKILL, "a save failed"
        found[f"model {value_of(folder / 'models')}"] += 1
        if number % 10 == 9:
            clean_folder(folder / "models")
            assert_tidy(folder / "models")
    return found


def writers(folder: Path, rounds: int, seed: int = 0) -> Counter[str]:
    """Two writers of one model at once, and a reader that opens it with onnxruntime all the time."""
    generator, found = random.Random(seed), Counter[str]()
    make(folder / "models", LAYOUTS[4], 1)
    stop = folder / "stop"

    def write(value: int, layouts: list[int]) -> None:
        for layout in layouts:
            LAYOUTS[layout].save(folder / "models", value)

    def read() -> None:
        from hugectr2onnx.backend.runtime.sessions import open_session, quiet_options

        opened = failed = 0
        while not stop.exists():
            options = quiet_options()
            options.intra_op_num_threads = 1
            try:
                answer = open_session(folder / "models" / NAME, options=options).run(None, {"row": np.arange(2)})[0]
                assert answer.min() == answer.max()
            except (FeedError, AssertionError):
                traceback.print_exc()
                failed += 1
            opened += 1
        (folder / "read").write_text(f"{opened} {failed}")

    reader = child(read)
    for _ in range(rounds):
        choices = [[generator.randrange(len(LAYOUTS)) for _ in range(2)] for _ in range(2)]
        both = [
            child(lambda value=value, chosen=chosen: write(value, chosen))
            for value, chosen in zip((2, 3), choices, strict=True)
        ]
        for process in both:
            found["saves"] += 2
            found["refused saves"] += 2 * (ended(process) != SAVED)
        assert value_of(folder / "models") in (2, 3)
    stop.touch()
    assert ended(reader) == SAVED
    opened, failed = map(int, (folder / "read").read_text().split())
    found.update({"openings": opened, "failed openings": failed})
    clean_folder(folder / "models")
    assert_tidy(folder / "models")
    return found


def full_disk(folder: Path) -> Counter[str]:
    """A disk in memory of every size from 64 KB on, in steps of 64 KB, until the save over an older model fits."""
    found = Counter[str]()
    size = 0
    (folder / "disk").mkdir()
    while found["fitted"] < 3:
        size += 64
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}k", "none", folder / "disk"], check=True)
        try:
            found[_save_on_full_disk(folder / "disk")] += 1
        finally:
            subprocess.run(["umount", "-l", folder / "disk"], check=True)
    return found


def _save_on_full_disk(disk: Path) -> str:
    try:
        save(model_of(1, rows=100), disk / NAME, external=True)
    except OutputError:
        assert list(disk.iterdir()) == []
        return "too small for any"
    try:
        for kind in ({"external": True}, {"shard_size": 10_000, "checksums": True}, {}):
            save(model_of(2, rows=100), disk / NAME, facts=dict, **kind)
            assert value_of(disk) == 2
            clean_folder(disk)
            save(model_of(1, rows=100), disk / NAME, external=True)
            clean_folder(disk)
        return "fitted"
    except OutputError:
        assert value_of(disk) in (1, 2)
        clean_folder(disk)
        assert value_of(disk) in (1, 2)
        assert not [path.name for path in disk.iterdir() if path.name.endswith(".new")]
        return "refused, an older model stays"


def shrinking(folder: Path, count: int, seed: int = 0) -> Counter[str]:
    """Cut the source of a table short while it is written: a model that is whole, or an error of ours."""
    from hugectr2onnx.frontend.weights.mapped_file import map_file
    from hugectr2onnx.tables.gathered import Converted, Gathered
    from hugectr2onnx.tables.row_format import FP16
    from tests.backend.saving.test_save import one_table

    generator, found = random.Random(seed), Counter[str]()
    table = folder / "table"
    for number in range(count):
        generator.seed(f"{seed} {number}")
        rows = generator.choice([50_000, 500_000, 6_000_000 if number % 20 == 0 else 1_000_000])
        rows = LARGEST if number % 50 == 49 else rows
        with open(table, "wb") as file:
            file.truncate(rows * 12)
        kind = generator.choice(["as it is", "in another order", "converted"])

        def work(rows: int = rows, kind: str = kind) -> None:
            source = map_file(table, np.dtype("<f4"), "a table")
            if len(source) < rows * 3:
                raise WeightsError("cut short before it was opened")
            source = source.reshape(rows, 3)
            order = np.arange(rows - 1, -1, -1, dtype=np.int32)
            part = {
                "as it is": source,
                "in another order": Gathered(source, order),
                "converted": Converted(source, FP16),
            }
            save(one_table(part[kind]), folder / "m.onnx", external=True)

        process = child(work, (WeightsError,))
        time.sleep(generator.random() * (0.2 + rows / 1e7))
        os.truncate(table, generator.randrange(rows * 12))
        code = ended(process)
        found[{SAVED: "saved", REFUSED: "error of ours"}.get(code, f"{kind}: exit {code}")] += 1
    return found


def main(arguments: list[str]) -> None:
    what, *count = arguments
    with tempfile.TemporaryDirectory(prefix="crash-") as folder:
        programs: dict[str, Callable[..., Counter[str]]] = {
            "kills": kills, "writers": writers, "full-disk": full_disk, "shrinking": shrinking
        }  # fmt: skip
        start = time.monotonic()
        found = programs[what](Path(folder), *map(int, count))
        sys.stdout.write(f"{what}: {dict(found)} in {time.monotonic() - start:.0f} s\n")


if __name__ == "__main__":
    main(sys.argv[1:])
