"""The files of a snapshot as HugeCTR writes them (formats 2.1 and 5, layers 2.1 and 2.2)."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from hugectr2onnx.errors import OutputError
from hugectr2onnx.ir.types import Array

CHUNK_ROWS = 1 << 16


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """Raise OutputError with the path for whatever the system refuses."""
    try:
        yield path
    except (OSError, ValueError) as failure:
        why = getattr(failure, "strerror", None) or str(failure)
        raise OutputError(f"Cannot write {path}: {why}. Choose a folder that you may write to.") from failure


def make_folder(path: Path) -> Path:
    """The folder, made with its parents where it is missing."""
    with writing(path):
        path.mkdir(parents=True, exist_ok=True)
    return path


def write_text(path: Path, text: str) -> Path:
    with writing(path):
        path.write_text(text, encoding="utf-8", newline="\n")
    return path


def write_array(path: Path, array: Array, dtype: str) -> Path:
    """Little-endian bytes of an array, nothing else."""
    with writing(path):
        array.astype(dtype, copy=False).tofile(path)
    return path


def write_vectors(path: Path, rows: int, vec_size: int, scale: float, generator: np.random.Generator) -> Path:
    """Normal vectors, a chunk at a time so that a table of any size needs little memory."""
    with writing(path), path.open("wb") as file:
        for start in range(0, rows, CHUNK_ROWS):
            count = min(CHUNK_ROWS, rows - start)
            chunk = generator.standard_normal((count, vec_size), dtype=np.float32) * np.float32(scale)
            file.write(chunk.astype("<f4", copy=False).tobytes())
    return path


def ntp_text(entries: Sequence[tuple[Array, Array]]) -> str:
    """The ntp file: indents of 2, 4 and 6, numbers as std::to_string prints them."""
    layers = [
        f'    {{\n      "type": "BatchNorm",\n      "mean": [{_numbers(mean)}],\n      "var": [{_numbers(var)}]\n    }}'
        for mean, var in entries
    ]
    return '{\n  "layers": [\n' + ",\n".join(layers) + "\n  ]\n}\n"


def _numbers(values: Array) -> str:
    return ", ".join(f"{value:.6f}" for value in values.tolist())


def snapshot_name(prefix: str | os.PathLike[str], kind: str, iteration: int) -> str:
    """P_dense_N.model or P{i}_sparse_N.model, `kind` being "_dense" or "{i}_sparse"."""
    return f"{os.fspath(prefix)}{kind}_{iteration}.model"
