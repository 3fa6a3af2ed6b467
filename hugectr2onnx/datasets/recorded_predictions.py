"""Recorded samples: an .npz file with the inputs of a model and the predictions that HugeCTR made from them."""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from hugectr2onnx.errors import FeedError
from hugectr2onnx.ir.given_feeds import InputForm, normalize_feeds
from hugectr2onnx.ir.types import Array
from hugectr2onnx.tables.regular_file import open_regular, shown

RECORDED_RTOL = ATOL = 1e-4
"""Tolerance for recorded predictions: HugeCTR computes in float32 on a GPU, in an order of its own, and so differs from the
float64 reference by more than onnxruntime does."""
MAX_UNPACKED = 256 << 20
"""Bytes that any recording may unpack to."""
MAX_EXPANSION = 20
"""Larger ones may unpack to so many times their size: samples of real features shrink to a third or a tenth."""


@dataclass(frozen=True, eq=False)
class Samples:
    """`feeds` by input name, `predictions` by output name, in float64 and as they were recorded.

    One column of predictions is often a plain list: `shaped` gives it the shape of the answers.
    """

    path: str
    rows: int
    feeds: Mapping[str, Array]
    predictions: Mapping[str, Array]

    def shaped(self, name: str, shape: tuple[int, ...]) -> Array:
        """Return the predictions for an output in its shape; raises FeedError where their number differs."""
        array = self.predictions[name]
        if array.size != math.prod(shape):
            raise FeedError(f"{self.path}: {name} has the shape {list(array.shape)}; the model gives {list(shape)}")
        return array.reshape(shape)


def read_samples(path: str | os.PathLike[str], session: Any) -> Samples:
    """Return the samples for a model. Raises FeedError, naming the array, for what is missing, unknown or of another kind."""
    name = os.fspath(path)
    arrays = load_arrays(name)
    inputs = {each.name: each for each in session.get_inputs()}
    outputs = {each.name: each for each in session.get_outputs()}
    _check_names(name, arrays, inputs, outputs)
    feeds = _feeds(name, arrays, inputs)
    rows = len(next(iter(feeds.values()), ()))
    predictions = {key: _prediction(name, key, arrays[key]) for key in outputs if key in arrays}
    return Samples(name, rows, feeds, predictions)


def load_arrays(path: str) -> dict[str, Array]:
    """Return the arrays of an .npz file by name; raises FeedError for a file that is none."""
    try:
        # Opened here, because numpy forgets to close a file that it cannot read.
        with open_regular(path, FeedError, "recorded samples") as file:
            _check_sizes(file, path)
            loaded = np.load(file, allow_pickle=False)
            if not isinstance(loaded, np.lib.npyio.NpzFile):
                raise FeedError(f"{path}: holds one array, not several by name: write it with numpy.savez")
            return dict(loaded)
    except FeedError:
        raise
    except MemoryError:
        raise FeedError(f"{path}: is larger than this machine's memory: give fewer rows") from None
    except Exception as error:
        # numpy, zipfile and zlib raise a dozen kinds of error for files that are none.
        why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise FeedError(f"{path}: is not an .npz file that numpy can read: {why}") from error


def _check_sizes(file: BinaryIO, path: str) -> None:
    """Raise FeedError for an archive that unpacks to far more than its size: zeros shrink a thousandfold."""
    if not zipfile.is_zipfile(file):
        file.seek(0)
        return
    with zipfile.ZipFile(file) as archive:
        unpacked = sum(entry.file_size for entry in archive.infolist())
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    if unpacked > max(MAX_UNPACKED, MAX_EXPANSION * size):
        raise FeedError(
            f"{shown(path)}: {size:,} bytes unpack to {unpacked:,}: write it uncompressed, with numpy.savez"
        )


def _check_names(path: str, arrays: Mapping[str, Array], inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> None:
    missing = [name for name in inputs if name not in arrays]
    unknown = [name for name in arrays if name not in inputs and name not in outputs]
    interface = f"the inputs are {', '.join(inputs)}, the outputs {', '.join(outputs)}"
    if missing:
        raise FeedError(f"{path}: lacks {', '.join(missing)}; {interface}")
    if unknown:
        raise FeedError(f"{path}: has the unknown {', '.join(unknown)}; {interface}")
    if not any(name in arrays for name in outputs):
        raise FeedError(f"{path}: holds no predictions: add one array for each output; {interface}")


def _feeds(path: str, arrays: Mapping[str, Array], inputs: Mapping[str, Any]) -> dict[str, Array]:
    forms = {name: InputForm.of_entry(entry) for name, entry in inputs.items()}
    try:
        return normalize_feeds(forms, {name: arrays[name] for name in forms})
    except FeedError as error:
        raise FeedError(f"{path}: {error}") from None


def _prediction(path: str, name: str, array: Array) -> Array:
    if array.dtype.kind not in "fiu":
        raise FeedError(f"{path}: {name} is {array.dtype}; predictions are numbers")
    return array.astype(np.float64)
