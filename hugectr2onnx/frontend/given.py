"""What a caller says beside the files, checked once and made plain, so that nothing behind it meets a surprise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hugectr2onnx.errors import GraphJsonError
from hugectr2onnx.frontend.extra_inputs import normalise_shape, plain_attributes
from hugectr2onnx.frontend.graph_json.fields import INT64_MAX, Fields, shown
from hugectr2onnx.frontend.graph_json.names import name_fault
from hugectr2onnx.frontend.weights.localized import MOST_GPUS
from hugectr2onnx.ir.types import Batch


def shapes(given: object) -> dict[str, tuple[int | str, ...]]:
    """`input_shapes` with "N" for the batch and plain numbers otherwise."""
    return {
        _name(name, "input_shapes"): tuple(
            "N" if isinstance(dim, Batch) else dim for dim in normalise_shape(name, shape)
        )
        for name, shape in _mapping(given, "input_shapes", "{'x': ('N', 13)}").items()
    }


def attributes(given: object) -> dict[str, dict[str, object]]:
    """`layer_attrs` as JSON would have them."""
    tops = _mapping(given, "layer_attrs", "{'reshape1': {'shape': [-1, 4]}}")
    return {_name(top, "layer_attrs"): dict(plain_attributes(attrs)) for top, attrs in tops.items()}


def slot_sizes(given: object) -> tuple[int, ...] | None:
    """The reader's `slot_size_array`, whose sum is a 64-bit integer; None where it is empty."""
    if given is None:
        return None
    plain: Any = given.tolist() if hasattr(given, "tolist") else given
    listed = list(plain) if isinstance(plain, Sequence) and not isinstance(plain, str | bytes) else plain
    sizes = Fields({"slot_size_array": listed}, "the options").integers("slot_size_array", (), 0, INT64_MAX)
    if sum(sizes) > INT64_MAX:
        raise GraphJsonError(
            "slot_size_array: the sum of its sizes is no 64-bit integer, and the last offsets are lost"
        )
    return sizes or None


def gpus(given: object) -> int | None:
    """`n_gpus` of the training."""
    if given is None:
        return None
    return Fields({"n_gpus": given}, "the options").integer("n_gpus", minimum=1, maximum=MOST_GPUS)


def graph_name(given: object) -> str:
    """The name of the graph in the ONNX file."""
    if isinstance(given, str) and given.isprintable():
        return given
    raise GraphJsonError(f"graph_name is {shown(given)}; give a text without control characters")


def _mapping(given: object, option: str, example: str) -> Mapping[Any, Any]:
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise GraphJsonError(f"{option} is {shown(given)}; give a mapping such as {example}")
    return given


def _name(name: object, option: str) -> str:
    if not isinstance(name, str):
        raise GraphJsonError(f"{option} has the key {shown(name)}; expected the name of a tensor")
    if fault := name_fault(name):
        raise GraphJsonError(f"{option} has the key {name[:60]!a}; expected {fault}")
    return name
