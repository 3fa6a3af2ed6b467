"""The files of a snapshot as HugeCTR writes them (formats 2.1 and 5, layers 2.1 and 2.2)."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from hugectr2onnx.errors import HugeCTR2ONNXError, OutputError
from hugectr2onnx.ir.types import Array

_ROWS_AT_ONCE = 1 << 16


@contextmanager
def staged(folder: Path, without: str = "") -> Iterator[Path]:
    """Make a scratch folder whose entries move to `folder` when the block ends well, and vanish otherwise.

    Nothing that lies in `folder` is replaced: raises OutputError where it has an entry of such a name, or one named `without`.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=".sample-", dir=folder))
    try:
        yield scratch
        with writing(folder):
            entries = sorted(scratch.iterdir())
            for name in (*(entry.name for entry in entries), *([without] if without else [])):
                if os.path.lexists(folder / name):
                    raise OutputError(
                        f"cannot write {folder / name}: it is there already; choose a folder that is empty or new"
                    )
            for entry in entries:
                os.rename(entry, folder / entry.name)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Raise OutputError with the path for whatever the system refuses."""
    try:
        yield
    except HugeCTR2ONNXError:
        raise
    except (OSError, ValueError) as failure:
        why = getattr(failure, "strerror", None) or str(failure)
        raise OutputError(
            f"cannot write {path}: {why}; choose a folder that you may write to and that has room"
        ) from failure


def make_folder(path: Path) -> None:
    with writing(path):
        path.mkdir()


def write_text(path: Path, text: str) -> None:
    with writing(path):
        path.write_text(text, encoding="utf-8", newline="\n")


def write_array(path: Path, array: Array, dtype: str) -> None:
    """Little-endian bytes of an array, nothing else."""
    with writing(path):
        path.write_bytes(np.ascontiguousarray(array, dtype).data)


def write_vectors(path: Path, rows: int, vec_size: int, deviation: float, generator: np.random.Generator) -> None:
    """Normal vectors, a chunk at a time so that a table of any size needs little memory."""
    with writing(path), path.open("wb") as file:
        for start in range(0, rows, _ROWS_AT_ONCE):
            shape = (min(_ROWS_AT_ONCE, rows - start), vec_size)
            chunk = generator.standard_normal(shape, dtype=np.float32) * np.float32(deviation)
            file.write(np.ascontiguousarray(chunk, "<f4").data)


def ntp_text(entries: Sequence[tuple[Array, Array]]) -> str:
    """Return the ntp file: indents of 2, 4 and 6, numbers as std::to_string prints them."""
    layers = [
        f'    {{\n      "type": "BatchNorm",\n      "mean": [{_numbers(mean)}],\n      "var": [{_numbers(var)}]\n    }}'
        for mean, var in entries
    ]
    return '{\n  "layers": [\n' + ",\n".join(layers) + "\n  ]\n}\n"


def _numbers(values: Array) -> str:
    return ", ".join(f"{value:.6f}" for value in values.tolist())
