"""`Layer`: what a HugeCTR layer declares. Its JSON fields, its weights in file order, its expansion; nothing else.

A layer never opens a file, never names a tensor and never computes a shape that an op can infer. A subclass registers
itself by naming its JSON types: `class InnerProductLayer(Layer, types=("InnerProduct",))`. The suffix tells it from an op of
the same name.
"""

from __future__ import annotations

import types as python_types
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from difflib import get_close_matches
from functools import cache
from typing import Any, ClassVar, Literal

import numpy as np

from hugectr2onnx.errors import CompilerError, OptionError
from hugectr2onnx.frontend.graph_json.fields import Fields
from hugectr2onnx.ir.graph import Value
from hugectr2onnx.ir.types import TensorType

REGISTRY: dict[str, type[Layer]] = {}
"""Layer classes by JSON type name; filled by the classes as they are defined."""

MAX_FLOAT32 = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Weight:
    """One weight of a layer. Those that evaluation never reads are in the file all the same: `used=False`."""

    name: str
    shape: tuple[int, ...]
    used: bool = True
    file: Literal["dense", "ntp"] = "dense"

    @property
    def floats(self) -> int:
        count = 1
        for dim in self.shape:
            count *= dim
        return count


def param(path: str, *aliases: str, default: Any = MISSING, minimum: float | None = None) -> Any:
    """Return a field of the layer's JSON object, such as `fc_param.num_output`; without a default it is mandatory.

    The field's annotation says what is read: int, float, bool, str, tuple[int, ...], tuple[bool, ...], tuple[str, ...],
    tuple[float, ...] or tuple[tuple[int, int], ...], each possibly `| None`. `layer_attrs` overrides it by the field's name.
    """
    return field(default=default, metadata={"paths": (path, *aliases), "minimum": minimum}, kw_only=True)


@dataclass(frozen=True)
class Layer:
    """One layer of the dense network. Subclasses stand in the sibling modules, which are found by themselves."""

    json_types: ClassVar[tuple[str, ...]] = ()
    bottoms: ClassVar[tuple[int, int]] = (1, 1)
    """The fewest and the most bottoms."""
    tops: ClassVar[tuple[int, int]] = (1, 1)
    """The fewest and the most tops. Tops beyond those that `build` returns are training buffers."""
    reads: ClassVar[int] = 1 << 30
    """How many bottoms the forward pass reads; the others are training buffers."""
    versions: ClassVar[str] = "all"
    """The HugeCTR versions that write it (layers 0)."""

    def __init_subclass__(cls, types: tuple[str, ...] = (), **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        cls.json_types = types
        for name in types:
            if name in REGISTRY:
                raise CompilerError(f"two layers claim the type {name}: {REGISTRY[name].__name__} and {cls.__name__}")
            REGISTRY[name] = cls

    def weights(self, *bottoms: Any, **_: Any) -> Iterator[Weight]:
        """Return the weights in dense-file order for bottom TensorTypes."""
        return iter(())

    def build(self, *operands: Any, **_: Any) -> Value | tuple[Value, ...]:
        """Return the expansion over the bottoms and the used weights: one value a top, training buffers left out."""
        raise NotImplementedError

    def caveats(self, *bottoms: TensorType) -> Iterator[str]:
        """Tell what the user should know about this layer's result, for bottom TensorTypes."""
        return iter(())

    @classmethod
    def parse(cls, json: Fields, attributes: Mapping[str, object]) -> Layer:
        """Return the layer from its JSON object and the caller's `layer_attrs`, which win; raises GraphJsonError."""
        hints = cls._hints()
        declared = {f.name: f for f in fields(cls) if f.metadata.get("paths")}
        _refuse_unknown(cls, attributes, declared)
        given = Fields(attributes, f"layer_attrs of {json.where}")
        values = {
            name: _read(given, name, hints[name], f) if name in attributes else _read_json(json, hints[name], f)
            for name, f in declared.items()
        }
        return cls(**values)

    @classmethod
    @cache
    def _hints(cls) -> Mapping[str, Any]:
        # Resolving annotations takes longer than all else that an import does for a layer.
        return typing.get_type_hints(cls)


def _refuse_unknown(cls: type[Layer], attributes: Mapping[str, object], declared: Mapping[str, object]) -> None:
    unknown = [name for name in attributes if name not in declared]
    if unknown:
        near = get_close_matches(str(unknown[0]), declared, 1)
        hint = f"did you mean {near[0]}?" if near else f"it takes {', '.join(declared) or 'none'}"
        name = cls.json_types[0] if cls.json_types else cls.__name__
        raise OptionError(
            f"layer_attrs gives {name} {unknown[0]!r}, which is no attribute of it: {hint}", option="layer_attrs"
        )


def _read_json(json: Fields, hint: Any, declared: Field[Any]) -> Any:
    paths: tuple[str, ...] = declared.metadata["paths"]
    path = next((path for path in paths if json.has(path)), paths[0])
    return _read(json, path, hint, declared)


def _read(json: Fields, path: str, hint: Any, declared: Field[Any]) -> Any:
    if not json.has(path) and declared.default is not MISSING:
        return _as_float32(declared.default) if isinstance(declared.default, float) else declared.default
    if isinstance(hint, python_types.UnionType):
        hint = next(choice for choice in typing.get_args(hint) if choice is not type(None))
    value = _READERS[hint](json, path)
    minimum = declared.metadata["minimum"]
    if minimum is not None and value < minimum:
        raise json.wrong(path, f"at least {minimum}", value)
    return value


def _float32(json: Fields, path: str) -> float:
    value = json.number(path)
    rounded = _as_float32(value)
    if not np.isfinite(rounded):
        raise json.wrong(path, "a finite number that fits a 32-bit float", value)
    return rounded


def _as_float32(value: float) -> float:
    """HugeCTR holds the numbers of a layer as C++ floats, defaults too (layers 1.1)."""
    with np.errstate(over="ignore"):
        return float(np.float32(value))


_READERS: dict[Any, Callable[[Fields, str], Any]] = {
    int: Fields.integer,
    float: _float32,
    bool: Fields.boolean,
    str: Fields.string,
    tuple[int, ...]: Fields.integers,
    tuple[float, ...]: Fields.numbers,
    tuple[bool, ...]: Fields.booleans,
    tuple[str, ...]: Fields.strings,
    tuple[tuple[int, int], ...]: Fields.ranges,
}
