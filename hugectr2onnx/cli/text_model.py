"""A HugeCTR model as tables for a reader."""

from __future__ import annotations

from pathlib import Path

from hugectr2onnx.checking.report import CheckReport, LayerCheck, TableCheck
from hugectr2onnx.cli.flags import described
from hugectr2onnx.cli.output import Output
from hugectr2onnx.cli.text_compile import show_runtimes
from hugectr2onnx.cli.text_table import duration
from hugectr2onnx.pages.numbers import size


def show_layers(output: Output, report: CheckReport) -> None:
    """Print every layer with its bytes in the dense file, expected and found."""
    if not report.layers:
        return
    output.title("layers")
    output.table(
        ("layer", "type", "top", "shape", "bytes", "found", "status"),
        [
            (
                str(layer.index),
                layer.type,
                ", ".join(layer.tops),
                ", ".join(layer.shapes),
                layer.expected_bytes,
                layer.found_bytes,
                _status(layer),
            )
            for layer in report.layers
        ],
        right=("layer", "bytes", "found"),
    )


def show_weights(output: Output, report: CheckReport) -> None:
    """Print every layer with what goes in, what comes out and its weights."""
    if not report.layers:
        return
    output.title("layers")
    output.table(
        ("layer", "type", "from", "to", "shape", "weights", "bytes"),
        [
            (
                str(layer.index),
                layer.type,
                ", ".join(layer.bottoms),
                ", ".join(layer.tops),
                ", ".join(layer.shapes),
                ", ".join(f"{name} {list(shape)}" for name, shape in layer.weights.items()),
                layer.expected_bytes,
            )
            for layer in report.layers
        ],
        right=("layer", "bytes"),
    )


def show_interface(output: Output, report: CheckReport) -> None:
    output.title("interface of the ONNX model")
    rows = [("input", each.name, each.type) for each in report.inputs]
    rows += [("output", each.name, each.type) for each in report.outputs]
    output.table(("", "name", "type"), rows)


def show_files(output: Output, report: CheckReport, has_weights: bool) -> None:
    """Print the files that hold the weights, or that should."""
    if report.dense is None:
        return
    output.title("files" if has_weights else "files that the model needs")
    least = "" if report.dense.is_complete else "at least "
    found = "" if report.dense.found_bytes is None else f", {report.dense.found_bytes:,} found"
    name = report.dense.path or "dense file PREFIX_dense_N.model"
    output.say(f"  {name}: {least}{report.dense.expected_bytes:,} bytes expected{found}")
    _show_statistics(output, report)
    _show_tables(output, report, has_weights)


def _show_statistics(output: Output, report: CheckReport) -> None:
    statistics = report.statistics
    if statistics is None or not (statistics.layers or statistics.path):
        return
    name = statistics.path or "ntp file PREFIX_dense_N.model.ntp.json"
    found = "" if statistics.found is None else f", {statistics.found} entries found"
    output.say(f"  {name}: statistics of {len(statistics.layers)} BatchNorm layers expected{found}")


def _show_tables(output: Output, report: CheckReport, has_weights: bool) -> None:
    if not report.tables:
        return
    output.say()
    if has_weights:
        columns = ("embedding", "keys", "slots", "vec", "pool", "table", "rows", "key range", "bytes", "found")
        rows = [(*_clause(table), *_contents(table)) for table in report.tables]
        output.table(columns, rows, right=("slots", "vec", "rows", "bytes", "found"))
        return
    needed = [table for table in report.tables if table.is_needed and table.path is None]
    names = {table.top: f"PREFIX{number}_sparse_N.model" for number, table in enumerate(needed)}
    names |= {table.top: Path(table.path).name for table in report.tables if table.path is not None}
    output.table(
        ("embedding", "keys", "slots", "vec", "pool", "table", "bytes a row"),
        [(*_clause(table), names.get(table.top, "none"), 4 * table.vec_size) for table in report.tables],
        right=("slots", "vec", "bytes a row"),
    )


def _clause(table: TableCheck) -> tuple[object, ...]:
    return table.top, table.bottom, table.slots, table.vec_size, table.combiner


def _contents(table: TableCheck) -> tuple[object, ...]:
    keys = None if table.smallest_key is None else f"{table.smallest_key} to {table.largest_key}"
    name = Path(table.path).name if table.path else None if table.is_needed else "not needed"
    return name, table.rows, keys, table.expected_bytes, table.found_bytes


def show_forecast(output: Output, report: CheckReport) -> None:
    """Print what compiling will take."""
    expected = report.forecast
    if expected is None:
        return
    output.title("forecast")
    output.table(
        ("embedding", "keys", "rows as", "rows", "bytes", "map"),
        [
            (each.table, each.strategy, each.format, each.rows, size(each.row_bytes), size(each.map_bytes))
            for each in expected.tables
        ],
        right=("rows", "bytes", "map"),
    )
    free = "" if expected.free_bytes is None else f" of {size(expected.free_bytes)} free"
    output.say(
        f"  output {size(expected.output_bytes)}{free} (layers {size(expected.dense_bytes)}, rows "
        f"{size(expected.table_bytes)}, key maps {size(expected.map_bytes)}), memory about {size(expected.memory_bytes)}, "
        f"time about {duration(expected.seconds)}"
    )
    show_runtimes(output, report.runs_on)


def show_verdict(output: Output, report: CheckReport, name: str, has_weights: bool) -> None:
    """Print all that is wrong, and what else the reader should know."""
    output.say()
    show_notes(output, report)
    if report.ok:
        rest = "" if has_weights else "; no weights were given, so only the graph was checked"
        output.say(f"nothing is wrong with {name}{rest}", "good")
        return
    count = len(report.problems)
    output.say(f"{count} problem{'s' if count > 1 else ''} in {name}:", "error")
    for number, problem in enumerate(report.problems, 1):
        text = "\n     ".join(described(problem.error).split("\n"))
        output.say(f"{number:3}. {'unsupported: ' if problem.exit_code == 4 else ''}{text}")
    if not has_weights and any(problem.kind == "MissingInformationError" for problem in report.problems):
        output.say("     The size of the dense file may tell what is missing: give --weights.")


def show_notes(output: Output, report: CheckReport) -> None:
    """Print what was recovered, and what the reader should know."""
    for note in report.recovered:
        output.say(f"recovered: {note}")
    for warning in report.warnings:
        output.say(f"warning: {warning}", "warning")


def total(report: CheckReport) -> str:
    """Return the size of a model in a line."""
    dense = report.dense.expected_bytes if report.dense else 0
    tables = sum(table.expected_bytes or 0 for table in report.tables)
    rows = sum(table.rows or 0 for table in report.tables)
    return f"{len(report.layers)} layers with {dense // 4:,} weights ({size(dense)}), {rows:,} rows ({size(tables)})"


def _status(layer: LayerCheck) -> str:
    short = layer.expected_bytes and layer.found_bytes is not None and layer.found_bytes < layer.expected_bytes
    return "too short" if short else layer.status
