"""Typed access to the fields of one JSON object, with errors that say where, what was expected and what was found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from numbers import Integral, Real
from typing import Any, TypeVar

from hugectr2onnx.errors import GraphJsonError, HugeCTR2ONNXError

INT32_MAX = 2**31 - 1
INT64_MAX = 2**63 - 1

_REQUIRED: Any = object()
_T = TypeVar("_T")


def shown(value: object) -> str:
    """Tell how an error message shows a value: its JSON kind and, where it is short, itself."""
    if isinstance(value, str):
        return f'the string "{value[:40]}{"..." if len(value) > 40 else ""}"'
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    if isinstance(value, Mapping):
        return f"an object of {len(value)} keys"
    if isinstance(value, Sequence):
        return f"a list of {len(value)}"
    if isinstance(value, int) and value.bit_length() > 64:
        return f"an integer of {value.bit_length()} bits"
    return f"{value!r}" if isinstance(value, Real) else f"a Python {type(value).__name__}"


class Fields:
    """The fields of one JSON object; a key may be a dotted path such as "fc_param.num_output".

    Whole floats count as integers (3.0), booleans do not. Every method raises `error` (GraphJsonError unless told) with
    the JSON path where a field is missing and has no default, has another type or lies out of bounds.
    """

    def __init__(self, obj: Mapping[str, object], where: str, error: type[HugeCTR2ONNXError] = GraphJsonError) -> None:
        self._error = error
        self.where = where
        if not isinstance(obj, Mapping):
            raise error(f"{where}: expected an object, found {shown(obj)}")
        self._obj = obj

    def path(self, key: str) -> str:
        """Return the JSON path of a key; a `where` that is a phrase is set off with a colon."""
        return f"{self.where}: {key}" if " " in self.where else f"{self.where}.{key}"

    def has(self, key: str) -> bool:
        return self._find(key) is not _REQUIRED

    def integer(
        self, key: str, default: int = _REQUIRED, minimum: int = -INT32_MAX - 1, maximum: int = INT32_MAX
    ) -> int:
        found = self._get(key, default)
        return default if found is default else self._integer(found, self.path(key), minimum, maximum)

    def number(self, key: str, default: float = _REQUIRED) -> float:
        found = self._get(key, default)
        return default if found is default else self._number(found, self.path(key))

    def string(self, key: str, default: str = _REQUIRED, choices: Sequence[str] = ()) -> str:
        found = self._get(key, default)
        if found is default:
            return str(default)
        text = self._of_type(found, str, "a string", self.path(key))
        if choices and text not in choices:
            raise self.wrong(key, " or ".join(f'"{choice}"' for choice in choices), text)
        return text

    def boolean(self, key: str, default: bool = _REQUIRED) -> bool:
        found = self._get(key, default)
        return default if found is default else self._of_type(found, bool, "true or false", self.path(key))

    def integers(
        self, key: str, default: Sequence[int] = _REQUIRED, minimum: int = -INT32_MAX - 1, maximum: int = INT32_MAX
    ) -> tuple[int, ...]:
        found = self._get(key, default)
        if found is default:
            return tuple(default)
        return tuple(self._integer(item, path, minimum, maximum) for path, item in self._items(found, self.path(key)))

    def numbers(self, key: str, default: Sequence[float] = _REQUIRED) -> tuple[float, ...]:
        found = self._get(key, default)
        if found is default:
            return tuple(default)
        return tuple(self._number(item, path) for path, item in self._items(found, self.path(key)))

    def booleans(self, key: str, default: Sequence[bool] = _REQUIRED) -> tuple[bool, ...]:
        found = self._get(key, default)
        if found is default:
            return tuple(default)
        return tuple(
            self._of_type(item, bool, "true or false", path) for path, item in self._items(found, self.path(key))
        )

    def strings(self, key: str, default: Sequence[str] = _REQUIRED) -> tuple[str, ...]:
        """Return a list of strings, or one string standing for a list of one (formats 1.2)."""
        found = self._get(key, default)
        if found is default:
            return tuple(default)
        if isinstance(found, str):
            return (found,)
        return tuple(self._of_type(item, str, "a string", path) for path, item in self._items(found, self.path(key)))

    def ranges(self, key: str) -> tuple[tuple[int, int], ...]:
        """Return a list of `[begin, end)` pairs with `0 <= begin < end`, as Slice writes them."""
        return tuple(self._range(item, path) for path, item in self._items(self._get(key), self.path(key)))

    def child(self, key: str) -> Fields:
        """Return the fields of a nested object."""
        return Fields(self.value(key), self.path(key), self._error)

    def children(self, key: str) -> tuple[Fields, ...]:
        """Return the fields of each object of a list."""
        return tuple(Fields(item, path, self._error) for path, item in self._items(self._get(key), self.path(key)))

    def value(self, key: str) -> Any:
        """Return the field as it stands."""
        return self._get(key)

    def __iter__(self) -> Iterator[str]:
        return iter(self._obj)

    def wrong(self, key: str, expected: str, found: object) -> HugeCTR2ONNXError:
        """Return the error of a field that is not what is expected, ready to raise."""
        return self._error(f"{self.path(key)}: expected {expected}, found {shown(found)}")

    def _find(self, key: str) -> Any:
        node: object = self._obj
        *parents, last = key.split(".")
        for depth, name in enumerate([*parents, last]):
            if not isinstance(node, Mapping):
                raise self.wrong(".".join([*parents, last][:depth]), "an object", node)
            if name not in node:
                return _REQUIRED
            node = node[name]
        return node

    def _get(self, key: str, default: Any = _REQUIRED) -> Any:
        found = self._find(key)
        if found is not _REQUIRED:
            return found
        if default is _REQUIRED:
            raise self._error(f"{self.path(key)}: is missing")
        return default

    def _of_type(self, value: Any, kind: type[_T], expected: str, path: str) -> _T:
        if isinstance(value, kind):
            return value
        raise self._error(f"{path}: expected {expected}, found {shown(value)}")

    def _items(self, value: Any, path: str) -> list[tuple[str, Any]]:
        if not isinstance(value, list | tuple):
            raise self._error(f"{path}: expected a list, found {shown(value)}")
        return [(f"{path}[{index}]", item) for index, item in enumerate(value)]

    def _integer(self, value: Any, path: str, minimum: int, maximum: int) -> int:
        whole = isinstance(value, Integral) or (isinstance(value, float) and value.is_integer())
        if isinstance(value, bool) or not whole:
            raise self._error(f"{path}: expected an integer, found {shown(value)}")
        if not minimum <= value <= maximum:
            raise self._error(f"{path}: expected an integer from {minimum} to {maximum}, found {shown(value)}")
        return int(value)

    def _number(self, value: Any, path: str) -> float:
        if isinstance(value, bool) or not isinstance(value, Real):
            raise self._error(f"{path}: expected a number, found {shown(value)}")
        try:
            return float(value)
        except OverflowError:
            raise self._error(f"{path}: {shown(value)} is too large for a float") from None

    def _range(self, value: Any, path: str) -> tuple[int, int]:
        items = self._items(value, path)
        if len(items) != 2:
            raise self._error(f"{path}: expected a pair [begin, end], found {shown(value)}")
        begin, end = (self._integer(item, where, 0, INT32_MAX) for where, item in items)
        if begin >= end:
            raise self._error(f"{path}: the range [{begin}, {end}) is empty")
        return begin, end
