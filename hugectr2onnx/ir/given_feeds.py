"""Normalize the inputs of one call: what is meant without doubt becomes the arrays that the model takes.

Everything that runs a model on inputs from outside comes through here: `CompiledModel.run`, `verify`, recordings, data sets.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations
from typing import Any

import numpy as np

from hugectr2onnx.errors import FeedError
from hugectr2onnx.ir.types import Array, TensorType, Width

_BATCH = re.compile(r"([1-9][0-9]*)?N(?:/([1-9][0-9]*))?")
"""How the emitter names a dimension that carries the batch: `N`, `26N`, `N/2`."""
OFFSETS = ".offsets"
"""What the name of the offsets of a sparse input in compressed sparse rows ends in."""
_ELEMENT_TYPES = {
    "tensor(float)": np.float32,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(bool)": np.bool_,
}


@dataclass(frozen=True)
class InputForm:
    """The element type and the shape of an input; a dimension is a number, the name of a symbolic one, or None."""

    dtype: np.dtype[Any]
    shape: tuple[int | str | None, ...]

    @classmethod
    def of_type(cls, type: TensorType) -> InputForm:
        """Of an input of a Graph; a Width, which the caller chooses for each request, is a symbol although it is an int."""
        shape = (dim if isinstance(dim, int) and not isinstance(dim, Width) else str(dim) for dim in type.shape)
        return cls(type.dtype.numpy, tuple(shape))

    @classmethod
    def of_entry(cls, entry: Any) -> InputForm:
        """Of an entry of `InferenceSession.get_inputs()`; element types that HugeCTR lacks count as float32."""
        return cls(np.dtype(_ELEMENT_TYPES.get(entry.type, np.float32)), tuple(entry.shape))

    def __str__(self) -> str:
        return f"{self.dtype} [{', '.join('?' if dim is None else str(dim) for dim in self.shape)}]"

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Tell whether an array of that shape can be fed as it is."""
        return len(shape) == len(self.shape) and all(
            size == dim for dim, size in zip(self.shape, shape, strict=True) if isinstance(dim, int)
        )


def normalize_feeds(forms: Mapping[str, InputForm], feeds: object, ignored: Collection[str] = ()) -> dict[str, Array]:
    """Return the array of each input by name, for a mapping, a pandas or polars DataFrame or an Arrow table by input names.

    A value is an array, a nested list, a column of a frame, or a mapping or frame that holds the columns of the input, in
    order. Numbers take the width of the model: floats and integers become float32 where it takes floats, integers int64
    where it takes keys. An axis of length 1 may be left out: keys [N, slot] where nnz is 1, [N, nnz] where there is one
    slot, dense values [N] where there is one feature. A vector may come as [1, length]. Entries named in `ignored`, such as
    labels, are left out.

    Raises FeedError for inputs that are missing, unknown, of another kind or shape, or whose numbers of rows differ.
    """
    columns = _columns(feeds)
    if columns is None:
        raise FeedError(f"the feeds are a {type(feeds).__name__}: give a mapping of input names to arrays")
    unknown = [str(name) for name in columns if name not in forms and name not in ignored]
    missing = [name for name in forms if name not in columns]
    if missing or unknown:
        faults = [f"lacks {', '.join(sorted(missing))}"] if missing else []
        faults += [f"has the unknown {', '.join(sorted(unknown))}"] if unknown else []
        listed = "; ".join(f"{name} {form}" for name, form in forms.items())
        raise FeedError(f"the feed {' and '.join(faults)}; the model's inputs are: {listed}")
    arrays = {name: normalize(name, form, columns[name]) for name, form in forms.items()}
    check_rows((name, form, arrays[name].shape) for name, form in forms.items())
    return arrays


def normalize(name: str, form: InputForm, value: object) -> Array:
    """Return one input as the model takes it. Raises FeedError."""
    array = _in_shape(form, _array(name, value))
    if not form.fits(array.shape):
        raise FeedError(f"input {name} is {array.dtype} {list(array.shape)}; the model takes {form}")
    return _in_width(name, form, array)


def check_rows(inputs: Iterable[tuple[str, InputForm, tuple[int, ...]]]) -> None:
    """Raise FeedError unless inputs with a symbolic dimension of one name agree in it: above all in the batch N."""
    known: dict[str, tuple[str, Fraction]] = {}
    for name, form, shape in inputs:
        for axis, (dim, size) in enumerate(zip(form.shape, shape, strict=True)):
            # A file of another converter may leave the batch without a name.
            symbol, length = _symbol("N" if dim is None and axis == 0 else dim, size)
            if symbol is None:
                continue
            other, expected = known.setdefault(symbol, (name, length))
            if length != expected:
                what = "rows" if axis == 0 else f"entries in {symbol}"
                raise FeedError(
                    f"input {other} has {expected} {what} and input {name} has {length}; give all inputs of one call the "
                    "same number"
                )


def check_offsets(name: str, offsets: Array, keys: int, whose: str) -> None:
    """Raise FeedError unless offsets begin with 0, never fall and end with a number of keys."""
    falling = np.flatnonzero(np.diff(offsets) < 0)
    if not len(offsets) or offsets[0] != 0:
        raise FeedError(f"input {name} begins with {offsets[:1].tolist()}: the first offset is 0")
    if len(falling):
        at = int(falling[0])
        raise FeedError(f"input {name} falls from {offsets[at]} to {offsets[at + 1]} at entry {at + 1}: offsets rise")
    if offsets[-1] != keys:
        raise FeedError(
            f"input {name} ends with {offsets[-1]}, and {whose} has {keys} keys: the last offset is that number"
        )


def _symbol(dim: int | str | None, size: int) -> tuple[str | None, Fraction]:
    """Return the name of a symbolic dimension, None where it has none, and its length; `26N` counts in rows of N."""
    match = _BATCH.fullmatch(dim) if isinstance(dim, str) else None
    if match is None:
        return dim if isinstance(dim, str) else None, Fraction(size)
    return "N", Fraction(size * int(match[2] or 1), int(match[1] or 1))


def _columns(value: object) -> Mapping[Any, Any] | None:
    """Return the columns of a mapping or of a frame by name; None for anything else."""
    if isinstance(value, Mapping):
        return value
    names = getattr(value, "column_names", getattr(value, "columns", None))
    if names is None or not hasattr(value, "__getitem__") or not hasattr(value, "shape"):
        return None
    return {name: value[name] for name in names}


def _array(name: str, value: object) -> Array:
    columns = _columns(value)
    if columns is not None:
        if not columns:
            raise FeedError(f"input {name} is a mapping without columns")
        parts = [_array(name, column) for column in columns.values()]
        if len({part.shape for part in parts}) > 1:
            raise FeedError(f"the columns of input {name} differ in shape: {', '.join(str(p.shape) for p in parts)}")
        return np.stack(parts, axis=1)
    if not isinstance(value, np.ndarray | list | tuple) and not hasattr(value, "__array__"):
        raise FeedError(f"input {name} is a {type(value).__name__}; give an array")
    try:
        return np.asarray(value)
    except (ValueError, TypeError, OverflowError) as error:
        raise FeedError(f"input {name} is not an array: {error}") from None


def _in_shape(form: InputForm, array: Array) -> Array:
    """With an axis of length 1 put back where leaving it out has one meaning."""
    lacking = len(form.shape) - array.ndim
    if lacking == -1 and len(form.shape) == 1 and len(array) == 1:
        return np.asarray(array[0])  # clients of HugeCTR's inference backend send vectors as a batch of one
    if lacking <= 0 or not array.ndim:
        return array
    # A symbolic width of keys takes one key too; the batch is never left out.
    may_lack = [axis for axis, dim in enumerate(form.shape) if axis and (dim == 1 or not isinstance(dim, int))]
    for axes in combinations(reversed(may_lack), lacking):
        whole = np.expand_dims(array, axes)
        if form.fits(whole.shape):
            return whole
    return array


def _in_width(name: str, form: InputForm, array: Array) -> Array:
    """In the element type that the model takes, where no number changes its meaning."""
    kind, wanted = array.dtype.kind, form.dtype
    if wanted.kind == "i" and kind == "u" and array.size and array.max() > np.iinfo(wanted).max:
        raise FeedError(f"input {name} holds keys beyond int64")
    if kind not in {"f": "fiu", "i": "iu"}.get(wanted.kind, wanted.kind):
        raise FeedError(f"input {name} is {array.dtype} {list(array.shape)}; the model takes {form}")
    # A number that float32 cannot hold is infinite in HugeCTR too.
    with np.errstate(over="ignore"):
        return array.astype(wanted, copy=False)
