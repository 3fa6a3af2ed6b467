"""Compare across fusion: names may outlive their meaning, and only compiling again can show some layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from hugectr2onnx.comparison.answers import run_file
from hugectr2onnx.comparison.causes import Departure
from hugectr2onnx.comparison.sides import FileSide, ModelSide, Side
from hugectr2onnx.compiler import compile
from hugectr2onnx.errors import HugeCTR2ONNXError
from hugectr2onnx.ir import expectation
from hugectr2onnx.ir.expectation import Expectation
from hugectr2onnx.ir.types import Array, N
from hugectr2onnx.verification.identity import compiled_alike
from hugectr2onnx.verification.verify_file import stored_options

OTHER = "named alike, but fusion changed what it holds"


class Answers(Protocol):
    """One batch of both sides."""

    @property
    def feeds(self) -> Mapping[str, Array]: ...
    @property
    def expected(self) -> Expectation | None: ...


def is_other_tensor(reference: Side, other: Side, departing: Sequence[str], batch: Answers | None) -> dict[str, str]:
    """Return tensors that depart in the source compiled again too, though its outputs do not: a reason for each."""
    if not departing or not isinstance(other, FileSide):
        return {}
    if isinstance(reference, FileSide):
        return _between_levels(reference, other, departing)
    if not isinstance(reference, ModelSide) or batch is None or batch.expected is None:
        return {}
    alike = compiled_alike(other.artifact, reference.source)
    if isinstance(alike, str):
        return {}
    names = [name for name in departing if name in other.tensors]
    answers = run_file(alike[0], batch.feeds, dict.fromkeys([*names, *other.outputs]))
    wrong = {name for name, array in answers.items() if not _agrees(batch.expected, name, array)}
    return {} if wrong & {*other.outputs} else {name: OTHER for name in names if name in wrong}


def _agrees(expected: Expectation, name: str, found: Array) -> bool:
    reference = expected.reference.get(name)
    if reference is None or reference.size != found.size:
        return True
    error, tolerance = expected.errors(name, found.reshape(reference.shape))
    return bool((error <= tolerance).all())


def _between_levels(a: FileSide, b: FileSide, departing: Sequence[str]) -> dict[str, str]:
    """Between two levels whose outputs agree, a tensor that departs is another tensor."""
    outputs = {*a.outputs, *b.outputs}
    levels = {_level(side) for side in (a, b)}
    if None in levels or len(levels) == 1 or outputs & {*departing}:
        return {}
    return dict.fromkeys(departing, OTHER)


def _level(side: FileSide) -> int | None:
    return stored_options(side.file.model).opt_level if side.is_ours else None


def part_inside_the_compiler(departure: Departure) -> tuple[str, str] | None:
    """(layer, cause) where compiling the source again, with the tensors in between as outputs, departs as the file does."""
    values = departure.source.loaded.values
    names = [
        tensor.name
        for tensor in departure.outline.tensors
        if tensor.layer in departure.layers and tensor.name in values and _has_rows(values[tensor.name].type.shape)
    ]
    try:
        plain = departure.source.resolved.options.changed(
            check=False, validate=False, dump=None, simplify=False, outputs=names
        )
        compiled = compile(departure.source.graph, departure.source.weights, options=plain)
        answers = run_file(compiled.artifact, departure.feeds, names)
    except HugeCTR2ONNXError:
        return None
    chosen = {name: values[name] for name in names}
    expected = expectation.expect(departure.source.loaded.graph, chosen, departure.feeds, departure.expected.batch)
    for tensor in departure.outline.tensors:
        if tensor.name in chosen and not _agrees(expected, tensor.name, np.asarray(answers[tensor.name])):
            return tensor.layer, f"the compiler's own fault: {tensor.name} departs when the source is compiled again"
    return None


def _has_rows(shape: Sequence[object]) -> bool:
    return bool(shape) and shape[0] == N
