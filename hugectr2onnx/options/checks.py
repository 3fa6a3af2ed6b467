"""Validate and normalize the values of options. Each check takes (value, name of the option) and raises OptionError."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral
from typing import Any

from hugectr2onnx.errors import OptionError
from hugectr2onnx.frontend.graph_json.fields import INT64_MAX, Fields, shown
from hugectr2onnx.frontend.graph_json.names import name_fault

_BATCH_SYMBOL = "N"
LARGEST_DIM = 1 << 31
INTERFACES = ("padded", "csr", "hugectr")
_MAX_FLOAT32 = (2 - 2**-23) * 2.0**127
MAX_INPUT_ELEMENTS = 1 << 26
"""Numbers of one sample in one tensor: parity holds some of them in float64."""


def one_of(choices: Sequence[int]) -> Callable[[Any, str], int]:
    """Return a check for an integer among the choices."""

    def check(value: object, name: str) -> int:
        if isinstance(value, Integral) and not isinstance(value, bool) and value in choices:
            return int(value)
        listed = ", ".join(map(str, choices))
        allowed = f"from {choices.start} to {choices.stop - 1}" if isinstance(choices, range) else f"one of {listed}"
        raise OptionError(f"{name} is {shown(value)}; it must be {allowed}")

    return check


def interface(value: object, name: str) -> str:
    """Return one of the forms in which keys come in."""
    if value in INTERFACES:
        return str(value)
    raise OptionError(f"{name} is {shown(value)}; it must be one of {', '.join(INTERFACES)}")


def boolean(value: object, name: str) -> bool:
    """True or False; 1 and 0, and numpy's, stand for them."""
    plain: Any = value
    if hasattr(plain, "item") and getattr(plain, "shape", None) == ():
        plain = plain.item()
    if isinstance(plain, int) and plain in (0, 1):
        return bool(plain)
    raise OptionError(f"{name} is {shown(plain)}; it must be true or false")


def output_names(value: object, name: str) -> tuple[str, ...] | None:
    """Return names of tensors, each once; None for the predictions."""
    if value is None:
        return None
    names = (value,) if isinstance(value, str) else value
    if not isinstance(names, Sequence) or not names or not all(isinstance(each, str) and each for each in names):
        raise OptionError(f"{name} is {shown(value)}; give the names of tensors, such as ['label', 'fc3']")
    twice = next((each for place, each in enumerate(names) if each in names[:place]), None)
    if twice is not None:
        raise OptionError(f"{name} names {twice!r} twice")
    return tuple(names)


def printable(value: object, name: str) -> str:
    """Return a text without control characters."""
    if isinstance(value, str) and value.isprintable():
        return value
    raise OptionError(f"{name} is {shown(value)}; give a text without control characters")


def path(value: object, name: str) -> str | None:
    """Return the path of a folder or file; None where none is given."""
    if value is None:
        return None
    text = os.fspath(value) if isinstance(value, str | os.PathLike) else None
    if isinstance(text, str) and text and name_fault(text) is None:
        return text
    raise OptionError(f"{name} is {shown(value)}; give the path of a folder")


def gpus(value: object, name: str) -> int | None:
    """Return the number of GPUs of the training; None where it is not given."""
    from hugectr2onnx.frontend.weights.localized import MOST_GPUS

    if value is None:
        return None
    return Fields({name: value}, "the options", OptionError).integer(name, minimum=1, maximum=MOST_GPUS)


def bytes_allowed(value: object, name: str) -> int | None:
    """Return a number of bytes from 1 on; None where there is no limit."""
    if value is None:
        return None
    return Fields({name: value}, "the options", OptionError).integer(name, minimum=1, maximum=INT64_MAX)


def key(value: object, name: str) -> int | None:
    """Return a key, which is any 64-bit integer; None where none is given."""
    if value is None:
        return None
    return Fields({name: value}, "the options", OptionError).integer(name, minimum=-INT64_MAX - 1, maximum=INT64_MAX)


def slot_sizes(value: Any, name: str) -> tuple[int, ...] | None:
    """Return the reader's `slot_size_array`, whose sum is a 64-bit integer; None where it is empty."""
    if value is None:
        return None
    plain: Any = value.tolist() if hasattr(value, "tolist") else value
    listed = list(plain) if isinstance(plain, Sequence) and not isinstance(plain, str | bytes) else plain
    sizes = Fields({name: listed}, "the options", OptionError).integers(name, (), 0, INT64_MAX)
    if sum(sizes) > INT64_MAX:
        raise OptionError(f"{name}: the sum of its sizes exceeds a 64-bit integer, and the last offsets are lost")
    return sizes or None


# Mappings by tensor name


def shapes(value: object, name: str) -> dict[str, tuple[int | str, ...]]:
    """{tensor: shape} with "N" for the batch and positive integers otherwise."""
    entries = _mapping(value, name, "{'x': ('N', 13)}").items()
    return {_tensor(tensor, name): _shape(shape, f"{name}[{ascii(tensor)[:60]}]") for tensor, shape in entries}


def _shape(shape: Any, where: str) -> tuple[int | str, ...]:
    if hasattr(shape, "tolist"):
        shape = shape.tolist()
    if isinstance(shape, str | bytes) or not isinstance(shape, Sequence) or not shape:
        raise OptionError(f"{where} must be a sequence such as ('N', 13), not {shown(shape)}")
    dims = tuple(_dim(dim, where) for dim in shape)
    if dims.count(_BATCH_SYMBOL) > 1:
        raise OptionError(f"{where} has the batch twice")
    if math.prod(dim for dim in dims if isinstance(dim, int)) > MAX_INPUT_ELEMENTS:
        raise OptionError(f"{where} has more than {MAX_INPUT_ELEMENTS} numbers a sample")
    return dims


def _dim(dim: object, where: str) -> int | str:
    """None, "N" and -1 stand for the batch."""
    if dim is None or (isinstance(dim, str) and dim == _BATCH_SYMBOL):
        return _BATCH_SYMBOL
    length = int(dim) if isinstance(dim, Integral) and not isinstance(dim, bool) else 0
    if length != -1 and not 0 < length < LARGEST_DIM:
        raise OptionError(f"{where} has {shown(dim)}: a dimension is a positive number, None or 'N'")
    return _BATCH_SYMBOL if length == -1 else length


def attributes(value: object, name: str) -> dict[str, dict[str, object]]:
    """{top: attributes} as the graph JSON would have them."""
    tops = _mapping(value, name, "{'reshape1': {'shape': [-1, 4]}}")
    return {_tensor(top, name): _attributes(attrs, name) for top, attrs in tops.items()}


def _attributes(value: object, name: str) -> dict[str, object]:
    """Lists for arrays, -1 for the batch in a shape."""
    if not isinstance(value, Mapping):
        raise OptionError(f"{name} must map a top to its attributes, such as {{'shape': [-1, 4]}}, not {shown(value)}")
    if odd := [each for each in value if not isinstance(each, str)]:
        raise OptionError(f"{name} has {shown(odd[0])} for the name of an attribute")
    plain: dict[str, object] = {each: _listed(given) for each, given in value.items()}
    shape = plain.get("shape")
    if isinstance(shape, list | tuple):
        plain["shape"] = [
            -1 if dim is None or (isinstance(dim, str) and dim == _BATCH_SYMBOL) else dim for dim in shape
        ]
    return plain


def _listed(value: object) -> object:
    return value.tolist() if hasattr(value, "tolist") else value


# One value for all tables, or one for each of some


def row_formats(value: object, name: str) -> str | dict[str, str]:
    """Return a row format, or {embedding top: row format}."""
    from hugectr2onnx.tables.row_format import FORMATS_BY_NAME

    return _per_table(value, name, [*FORMATS_BY_NAME], "a row format is")


def key_maps(value: object, name: str) -> str | dict[str, str]:
    """Return a key-map strategy, or {embedding top: strategy}."""
    from hugectr2onnx.passes.lookups.strategies import STRATEGY_NAMES

    return _per_table(value, name, STRATEGY_NAMES, "it must be")


def precisions(value: object, name: str) -> str | dict[str, str]:
    """Tell how products are computed, or {layer: how}."""
    from hugectr2onnx.passes.precision.quantize_products import PRECISIONS

    return _per_table(value, name, PRECISIONS, "it must be")


def cpu(value: object, name: str) -> str:
    """Return the processors that a model is for."""
    from hugectr2onnx.passes.precision.weight_bytes import CPUS

    if value in CPUS:
        return str(value)
    raise OptionError(f"{name} is {shown(value)}; it must be one of {', '.join(CPUS)}")


def _per_table(value: object, name: str, known: Sequence[str], must: str) -> str | dict[str, str]:
    given = dict(value) if isinstance(value, Mapping) else value
    for each in given.values() if isinstance(given, dict) else [given]:
        if not isinstance(each, str) or each not in known:
            found = repr(each[:60]) if isinstance(each, str) else f"a Python {type(each).__name__}"
            raise OptionError(f"{name} is {found}; {must} one of {', '.join(known)}")
    if isinstance(given, str):
        return given
    return {str(top): each for top, each in given.items()} if isinstance(given, dict) else ""


def default_vectors(value: object, name: str) -> float | dict[str, float] | tuple[tuple[str, float], ...] | None:
    """Return a number, {table: number}, or the (table, number) pairs of a ps.json in its order."""
    from hugectr2onnx.options import parameter_server

    if value is None:
        return None
    if isinstance(value, str | os.PathLike):
        return parameter_server.read_defaults(os.fspath(value))
    if isinstance(value, Mapping) and parameter_server.MODELS in value:
        return parameter_server.defaults_of(value, name)
    if isinstance(value, Mapping):
        return {str(table): _float32(each, name) for table, each in value.items()}
    if isinstance(value, Sequence) and all(isinstance(each, Sequence) and len(each) == 2 for each in value):
        return tuple((str(table), _float32(each, name)) for table, each in value)
    return _float32(value, name)


def _float32(value: object, name: str) -> float:
    """Return a number that float32 holds."""
    number = Fields({name: value}, "the options", OptionError).number(name)
    if not abs(number) <= _MAX_FLOAT32:
        raise OptionError(f"{name} is {shown(value)}; it must be a number that float32 holds")
    return number


def kept_keys(value: object, name: str) -> dict[str, object]:
    """{embedding top, or table of an EmbeddingCollection: keys, or the files that hold them}; they are read later."""
    return {str(top): keys for top, keys in _mapping(value, name, "{'emb': 'keys.npy'}").items()}


def description(value: object, name: str) -> object:
    """Return a mapping, or the path of a JSON file: reading it tells what is wrong with it."""
    return value


def _mapping(value: object, name: str, example: str) -> Mapping[Any, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise OptionError(f"{name} is {shown(value)}; give a mapping such as {example}")
    return value


def _tensor(key: object, name: str) -> str:
    if not isinstance(key, str):
        raise OptionError(f"{name} has the key {shown(key)}; expected the name of a tensor")
    if fault := name_fault(key):
        raise OptionError(f"{name} has the key {key[:60]!a}; expected {fault}")
    return key
