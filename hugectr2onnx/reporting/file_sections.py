"""Sections on what a file says of itself: its interface, its nodes' layers, tables, sizes, versions."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from hugectr2onnx.backend.onnx.artifact import Artifact
from hugectr2onnx.backend.onnx.node_layers import layers_of
from hugectr2onnx.inspection.onnx_model import OnnxSummary
from hugectr2onnx.latency.feeds import FileInput, entries_of
from hugectr2onnx.options import METADATA_KEY
from hugectr2onnx.pages.blocks import Block, Code, Column, Paragraph, Section, TableBlock
from hugectr2onnx.verification.table_gathers import TableGathers

LARGEST_TENSORS = 12
_ROW_FORMATS = {1: "fp32", 3: "int8", 10: "fp16"}
_ELEMENTS = {1: 4, 3: 1, 10: 2}


def interface(summary: OnnxSummary, artifact: Artifact, name: str) -> Section:
    """Inputs, outputs, and a call that runs as it stands."""
    columns = (Column("name"), Column("direction"), Column("type"), Column("what it holds"))
    rows = [(each.name, "input", str(each.type), _meaning(each.name, str(each.type))) for each in summary.inputs]
    rows += [(each.name, "output", str(each.type), "a prediction for each sample") for each in summary.outputs]
    call = _example(name, entries_of(artifact), [each.name for each in summary.outputs])
    table = TableBlock("Inputs and outputs; N is the number of samples of a call", columns, tuple(rows))
    return Section("interface", "Interface", (table, Code("An example call", call, "python")))


def _meaning(name: str, type: str) -> str:
    if type.startswith(("i64", "i32")):
        return (
            "offsets of the keys"
            if name.endswith((".offsets", "ROWINDEX"))
            else "keys of embedding tables; -1 is padding"
        )
    return "numbers"


def _example(name: str, entries: Sequence[FileInput], outputs: Sequence[str]) -> str:
    lines = ["import numpy as np", "import onnxruntime", "", f"session = onnxruntime.InferenceSession({name!r})"]
    lines.append("feeds = {")
    for entry in entries:
        first = entry.dims[0] if entry.dims and isinstance(entry.dims[0], int) else 1
        lines.append(f"    {entry.name!r}: np.zeros({entry.shape(first)}, np.{np.dtype(entry.dtype).name}),")
    return "\n".join([*lines, "}", f"{', '.join(_python_name(each) for each in outputs)}, = session.run(None, feeds)"])


def _python_name(text: str) -> str:
    return text if text.isidentifier() else "output"


def layers(artifact: Artifact, types: Mapping[str, str]) -> Section:
    """Return each layer of the source, where it is at hand, and the nodes that it became."""
    nodes = [(node.op_type, layers_of(node)) for node in artifact.skeleton.graph.node]
    seen = list(dict.fromkeys(layer for _, own in nodes for layer in own))
    names = list(types) or seen
    columns = (Column("layer"), Column("type"), Column("nodes", "count"), Column("became"), Column("together with"))
    rows = []
    for layer in names:
        own = [(op, group) for op, group in nodes if layer in group]
        operators = Counter(op for op, _ in own)
        others = dict.fromkeys(other for _, group in own for other in group if other != layer)
        became = ", ".join(f"{op} x{count}" if count > 1 else op for op, count in operators.items())
        became = became or (
            "nothing of its own: folded into others, or moves no data" if nodes and seen else "not recorded"
        )
        rows.append((layer, types.get(layer, "-"), len(own), became, ", ".join(others) or "-"))
    blocks: list[Block] = [
        TableBlock("Layers by their first top, and the operators that they became", columns, tuple(rows))
    ]
    if not types:
        text = "The types of the layers, and layers that left no node, are in the graph JSON: give it with --against."
        blocks.append(Paragraph(text, "muted"))
    if not seen:
        blocks.append(
            Paragraph("The nodes of this file do not say which layers they came from: another converter wrote it.")
        )
    return Section("layers", "Layers", tuple(blocks))


def tables(artifact: Artifact) -> TableBlock:
    """Return the tensors that rows are gathered from."""
    gathers = TableGathers(artifact)
    names = list(dict.fromkeys(node.input[0] for node in gathers.nodes))
    columns = (
        Column("tensor"),
        Column("rows", "count"),
        Column("width", "count"),
        Column("format"),
        Column("bytes", "bytes"),
    )
    rows = []
    for name in names:
        tensor = gathers.tensors[name]
        dims = [int(dim) for dim in tensor.dims]
        width = int(np.prod(dims[1:], dtype=np.int64)) if len(dims) > 1 else 1
        count = dims[0] * width * _ELEMENTS[tensor.data_type]
        rows.append((name, dims[0], width, _ROW_FORMATS[tensor.data_type], count))
    return TableBlock("Tables as the file stores them, with the rows of missing keys", columns, tuple(rows))


def key_maps(summary: OnnxSummary) -> TableBlock | None:
    """Return the encoders of the file; direct maps and hashes are made of other operators."""
    if not summary.tables:
        return None
    columns = (
        Column("key map"),
        Column("layers"),
        Column("keys", "count"),
        Column("smallest", "count"),
        Column("largest", "count"),
    )
    rows = [(each.node, each.layers, each.keys, each.smallest_key, each.largest_key) for each in summary.tables]
    return TableBlock("LabelEncoders", columns, tuple(rows))


def sizes(summary: OnnxSummary) -> Section:
    """Return the files, and the largest constants."""
    files = [(summary.path, summary.bytes), *((each.path, each.found_bytes) for each in summary.data_files)]
    named = tuple((os.path.basename(path), count) for path, count in files)
    largest = sorted(summary.tensors, key=lambda each: -each.bytes)[:LARGEST_TENSORS]
    operators = sorted(summary.operators.items(), key=lambda each: -each[1])
    return Section(
        "sizes",
        "Sizes",
        (
            TableBlock("Files", (Column("file"), Column("bytes", "bytes")), named),
            TableBlock(
                f"The largest of {len(summary.tensors)} constants",
                (Column("constant"), Column("type"), Column("bytes", "bytes")),
                tuple((each.name, each.type, each.bytes) for each in largest),
                bar="bytes",
            ),
            TableBlock("Operators", (Column("operator"), Column("nodes", "count")), tuple(operators), bar="nodes"),
        ),
    )


def versions(summary: OnnxSummary, machine: Mapping[str, object]) -> Section:
    """Who wrote the file and with which options, and on what this report was made."""
    own = [("producer", summary.producer or "-"), ("ONNX IR version", str(summary.ir_version))]
    own += [(f"opset of {domain}", str(number)) for domain, number in summary.opsets.items()]
    found = machine.get("versions")
    packages = found if isinstance(found, Mapping) else {}
    here = [(name, str(value)) for name, value in machine.items() if name != "versions"]
    here += [(name, str(value)) for name, value in packages.items() if value]
    blocks: list[Block] = [
        TableBlock("The file", (Column("what"), Column("value")), tuple(own)),
        TableBlock("Where this report was made", (Column("what"), Column("value")), tuple(here)),
    ]
    options = list(_options(summary.metadata))
    if options:
        blocks.insert(
            1, TableBlock("Options that the file records", (Column("option"), Column("value")), tuple(options))
        )
    return Section("versions", "Versions and options", tuple(blocks))


def _options(metadata: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    try:
        recorded = json.loads(metadata.get(METADATA_KEY, "{}"))
    except ValueError:
        return
    for name, value in recorded.items() if isinstance(recorded, dict) else ():
        yield name, value if isinstance(value, str) else json.dumps(value)
