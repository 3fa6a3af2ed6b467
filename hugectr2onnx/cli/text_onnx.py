"""An ONNX file as tables for a reader."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hugectr2onnx.cli.output import Output
from hugectr2onnx.pages.numbers import size

if TYPE_CHECKING:
    from hugectr2onnx.inspection.onnx_model import DataFile, OnnxSummary


def show(output: Output, summary: OnnxSummary) -> None:
    """Print the whole summary."""
    output.title("interface")
    rows = [("input", each.name, each.type) for each in summary.inputs]
    rows += [("output", each.name, each.type) for each in summary.outputs]
    output.table(("", "name", "type"), rows)
    if any(summary.layers):
        output.title("nodes by HugeCTR layer")
        layers = [(name or "(none)", count) for name, count in summary.layers.items()]
        output.table(("layer", "nodes"), layers, right=("nodes",))
    output.title("operators")
    output.say("  " + ", ".join(f"{name} {count}" for name, count in summary.operators.items()))
    output.title("constants")
    output.table(
        ("name", "type", "bytes", "file"),
        [(each.name, each.type, each.bytes, each.file or "") for each in summary.tensors],
        right=("bytes",),
    )
    _show_tables(output, summary)
    _show_metadata(output, summary)


def _show_tables(output: Output, summary: OnnxSummary) -> None:
    if not summary.tables:
        return
    output.title("embedding keys")
    output.table(
        ("node", "keys", "key range"),
        [(each.node, each.keys, f"{each.smallest_key} to {each.largest_key}") for each in summary.tables],
        right=("keys",),
    )


def _show_metadata(output: Output, summary: OnnxSummary) -> None:
    output.title("file")
    opsets = ", ".join(f"{domain} {version}" for domain, version in summary.opsets.items())
    output.say(
        f"  made by {summary.producer or 'nobody known'}; IR version {summary.ir_version}; operators of {opsets}"
    )
    for key, value in summary.metadata.items():
        output.say(f"  {key}: {value}")
    output.say(
        f"  {summary.path}: {size(summary.bytes)}, graph {summary.graph_name!r} of {summary.nodes} nodes", "good"
    )
    for file in summary.data_files:
        _show_data_file(output, file)


def _show_data_file(output: Output, file: DataFile) -> None:
    if file.found_bytes is None:
        output.say(
            f"warning: {file.path}: is missing, and the model needs {file.needed_bytes:,} bytes of it", "warning"
        )
    elif file.found_bytes < file.needed_bytes:
        output.say(
            f"warning: {file.path}: has {file.found_bytes:,} bytes, and the model needs {file.needed_bytes:,}",
            "warning",
        )
    else:
        output.say(f"  {file.path}: {size(file.found_bytes)}", "good")
