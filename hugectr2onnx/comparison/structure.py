"""`diff`: how two ONNX files differ in structure, without running them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from html import escape
from itertools import zip_longest
from typing import Any

from hugectr2onnx.backend.onnx.artifact import Artifact
from hugectr2onnx.backend.onnx.onnx_file import as_artifact, read_model
from hugectr2onnx.comparison.tensors import layer_of_node
from hugectr2onnx.inspection.onnx_model import OnnxSummary, inspect_onnx

PARTS = ("interface", "operators", "layers", "weights", "key maps", "options", "sizes")
"""What is looked at, in the order of the table."""
_COMPARED_BYTES = 4 << 20


@dataclass(frozen=True)
class Change:
    """One thing that is not the same: `part` is one of PARTS, `a` and `b` what the files say (None: nothing)."""

    part: str
    name: str
    a: str | None
    b: str | None


@dataclass(frozen=True)
class StructureDifference:
    """Two ONNX files compared by what they hold."""

    a: str
    b: str
    changes: tuple[Change, ...]

    @property
    def same(self) -> bool:
        return not self.changes

    def of(self, part: str) -> tuple[Change, ...]:
        """Return the changes of one part."""
        return tuple(change for change in self.changes if change.part == part)

    def to_dict(self) -> dict[str, Any]:
        """Return everything, as JSON-ready data."""
        return {"same": self.same, **asdict(self)}

    def _repr_html_(self) -> str:
        head = "<tr><th></th><th></th><th>A</th><th>B</th></tr>"
        rows = "".join(
            f"<tr>{''.join(f'<td>{escape(str(cell))}</td>' for cell in (c.part, c.name, c.a or '-', c.b or '-'))}</tr>"
            for c in self.changes
        )
        return f"<p>A: {escape(self.a)}, B: {escape(self.b)}</p><table>{head}{rows}</table>"


def diff(a: str | os.PathLike[str], b: str | os.PathLike[str]) -> StructureDifference:
    """Tell how two ONNX files differ: interface, operators, layers, weights, key maps, options and sizes.

    Nothing is run and no data is needed. Weights are compared by name: type, shape, and contents bit for bit, which are read
    in pieces. Raises FeedError for a file that is not an ONNX file.
    """
    first, second = inspect_onnx(a), inspect_onnx(b)
    artifacts = as_artifact(read_model(a), a), as_artifact(read_model(b), b)
    changes = [
        *_changes("interface", _interface(first), _interface(second)),
        *_changes("operators", _texts(first.operators), _texts(second.operators)),
        *_changes("layers", _layers(artifacts[0]), _layers(artifacts[1])),
        *_weights(first, second, artifacts),
        *_changes("key maps", _key_maps(first), _key_maps(second)),
        *_changes("options", _metadata(first), _metadata(second)),
        *_changes("sizes", _sizes(first), _sizes(second)),
    ]
    return StructureDifference(os.fspath(a), os.fspath(b), tuple(changes))


def _changes(part: str, a: Mapping[str, str], b: Mapping[str, str]) -> Iterator[Change]:
    for name in dict.fromkeys([*a, *b]):
        if a.get(name) != b.get(name):
            yield Change(part, name, a.get(name), b.get(name))


def _texts(counts: Mapping[str, int]) -> dict[str, str]:
    return {name: str(count) for name, count in counts.items()}


def _interface(summary: OnnxSummary) -> dict[str, str]:
    return {
        **{f"input {each.name}": each.type for each in summary.inputs},
        **{f"output {each.name}": each.type for each in summary.outputs},
        "opsets": ", ".join(f"{domain} {version}" for domain, version in sorted(summary.opsets.items())),
        "IR version": str(summary.ir_version),
        "producer": summary.producer,
    }


def _layers(artifact: Artifact) -> dict[str, str]:
    """Return the operators that each layer, or group of fused layers, became."""
    found: dict[str, list[str]] = {}
    for node in artifact.skeleton.graph.node:
        layers = layer_of_node(node)
        if layers:
            found.setdefault(layers, []).append(node.op_type)
    return {layers: ", ".join(operators) for layers, operators in found.items()}


def _weights(a: OnnxSummary, b: OnnxSummary, artifacts: tuple[Artifact, Artifact]) -> Iterator[Change]:
    """Yield constants by name: those of other types and sizes, then those of other contents."""
    types = [{tensor.name: tensor.type for tensor in summary.tensors} for summary in (a, b)]
    yield from _changes("weights", types[0], types[1])
    for name, type in types[0].items():
        if types[1].get(name) == type and not _same_contents(name, *artifacts):
            yield Change("weights", name, type, f"{type}, other numbers")


def _same_contents(name: str, a: Artifact, b: Artifact) -> bool:
    return all(x == y for x, y in zip_longest(_content(name, a), _content(name, b)))


def _content(name: str, artifact: Artifact) -> Iterator[bytes | memoryview]:
    if name in artifact.tensors:
        yield from artifact.tensors[name].chunks(_COMPARED_BYTES)
        return
    from onnx import numpy_helper

    tensor = next(each for each in artifact.skeleton.graph.initializer if each.name == name)
    content = numpy_helper.to_array(tensor).tobytes()
    yield from (content[start : start + _COMPARED_BYTES] for start in range(0, len(content), _COMPARED_BYTES))


def _key_maps(summary: OnnxSummary) -> dict[str, str]:
    return {each.node: f"{each.keys:,} keys, {each.smallest_key} to {each.largest_key}" for each in summary.tables}


def _metadata(summary: OnnxSummary) -> dict[str, str]:
    """Return the metadata, the options one by one."""
    found: dict[str, str] = {}
    for key, text in summary.metadata.items():
        name = key.removeprefix("hugectr2onnx.")
        try:
            value = json.loads(text)
        except ValueError:
            value = text
        values = value if name == "options" and isinstance(value, dict) else {name: value}
        found |= {option: json.dumps(each) if not isinstance(each, str) else each for option, each in values.items()}
    return found


def _sizes(summary: OnnxSummary) -> dict[str, str]:
    return {
        "nodes": f"{summary.nodes:,}",
        "bytes of the file": f"{summary.bytes:,}",
        "bytes of constants": f"{sum(tensor.bytes for tensor in summary.tensors):,}",
        "bytes of data files": f"{sum(file.needed_bytes for file in summary.data_files):,}",
    }
