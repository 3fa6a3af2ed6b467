"""Print what `hugectr2onnx compile` has done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hugectr2onnx.cli.output import Output
from hugectr2onnx.pages.numbers import size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from hugectr2onnx.backend.runtime.portability import RunsOn
    from hugectr2onnx.compiled_model import CompiledModel
    from hugectr2onnx.quantization.metrics import Quality, Trial
    from hugectr2onnx.report import Report


def tell(output: Output, name: str, count: int, compiled: CompiledModel) -> None:
    """Print the file, its interface, its tables, and how it was proven."""
    report = compiled.report
    for warning in report.warnings:
        output.warning(warning)
    for note in report.recovered:
        output.say(f"recovered: {note}")
    output.say(f"{name}: {size(count)}, {report.onnx_nodes} nodes, in {report.seconds:.1f} s", "good")
    output.table(
        ("", "name", "type"),
        [("input", value.node.name, value.type) for value in compiled.ir.inputs]
        + [("output", name, value.type) for name, value in compiled.ir.outputs.items()],
    )
    _show_tables(output, report)
    _show_products(output, report)
    _show_trials(output, report)
    output.say(f"level {report.opt_level}: {report.ops_before} -> {report.ops_after} operations{_fires(report)}")
    output.say(f"onnxsim: {report.simplify}")
    output.say(f"parity: {_parity(report)}")
    for line in _compared(report):
        output.say(f"compared: {line}")
    show_runtimes(output, report.runs_on)


def show_runtimes(output: Output, runtimes: Iterable[RunsOn]) -> None:
    """Print which runtimes can take the file, and why another cannot."""
    for each in runtimes:
        between = " " if each.verdict == "yes, if" else "; "
        output.say(f"runs on {each.runtime}: {each.verdict}{between}{each.reason}")


def _fires(report: Report) -> str:
    fires = [f"{rule} {count}" for rule, count in sorted(report.fires.items())]
    return f" ({', '.join(fires)})" if fires else ""


def _parity(report: Report) -> str:
    if report.parity is None:
        return "not checked"
    worst = max(report.parity.outputs, key=lambda each: each.max_error / each.tolerance if each.tolerance else 0.0)
    batches = ", ".join(map(str, report.parity.batches))
    return (
        f"passed at batches of {batches}; the largest error is {worst.max_error:.2g} in {worst.name}, where "
        f"{worst.tolerance:.2g} is allowed"
    )


def _compared(report: Report) -> Iterator[str]:
    """Tell what the comparison covers; nothing where there was none."""
    if report.parity is None:
        return
    elements = sum(each.elements for each in report.parity.outputs)
    yield f"{elements:,} numbers of outputs and logits; {report.layers} layers with {report.dense_floats:,} weights"
    units = report.parity.hidden_units
    if units:
        active, total = sum(each.active for each in units), sum(each.units for each in units)
        yield f"hidden units: {active:,} of {total:,} were not zero on some feed"
    if report.stored:
        rows = sum(table.rows for table in report.stored)
        yield f"tables: some of the {rows:,} keys and rows; `hugectr2onnx verify` compares all of them"


def _show_tables(output: Output, report: Report) -> None:
    from hugectr2onnx.passes.lookups.strategies import LABEL_ENCODER

    strategies = {choice.table: choice.strategy for choice in report.key_maps}
    output.table(
        ("embedding", "keys", "rows", "dropped", "rows as", "bytes", "before", "largest error", "rms error"),
        [
            (
                table.table,
                strategies.get(table.table, LABEL_ENCODER.name),
                table.rows,
                table.rows_dropped,
                table.format,
                size(table.bytes_after),
                size(table.bytes_before),
                f"{table.max_error:.2g}",
                f"{table.rms_error:.2g}",
            )
            for table in report.stored
        ],
        right=("rows", "dropped", "bytes", "before", "largest error", "rms error"),
    )


def _show_products(output: Output, report: Report) -> None:
    """Print how each product is computed, what that costs, and what this machine is fit for."""
    if not report.products:
        return
    output.table(
        ("product", "weights", "computed in", "why", "bytes", "before", "largest error", "rms error"),
        [
            (
                each.product,
                f"{each.k} x {each.n}",
                each.precision,
                each.why,
                size(each.bytes_after),
                size(each.bytes_before),
                f"{each.max_error:.2g}",
                f"{each.rms_error:.2g}",
            )
            for each in report.products
        ],
        right=("weights", "bytes", "before", "largest error", "rms error"),
    )
    formats = dict.fromkeys(each.precision for each in report.products if each.precision != "fp32")
    for cost in report.format_costs:
        output.say(
            f"cost of {' and '.join(formats)}: {cost.output} moves by up to {cost.max_change:.2g} "
            f"({cost.mean_change:.2g} on average) on inputs that are made up, with features of up to 100"
        )
    if report.saturates is not None:
        added = "16 bits, and is fit for --cpu any" if report.saturates else "32 bits, and is fit for --cpu vnni too"
        output.say(f"this machine adds products of bytes in {added}")


def _show_trials(output: Output, report: Report) -> None:
    """Quality without any rounding, and with each choice of formats that was tried."""
    shown: list[tuple[str, Callable[[Trial, Quality], str]]] = [
        ("rows as", lambda trial, _: _spelled(trial.embedding)),
        ("products as", lambda trial, _: _spelled(trial.precision)),
        ("us", lambda trial, _: "" if trial.microseconds is None else f"{trial.microseconds:.0f}"),
        ("samples", lambda _, quality: f"{quality.samples}"),
        ("AUC", lambda _, quality: _number(quality.auc)),
        ("log-loss", lambda _, quality: _number(quality.log_loss)),
        ("largest change", lambda _, quality: _number(quality.max_change, ".2g")),
        ("mean", lambda _, quality: _number(quality.mean_change, ".2g")),
        ("rank", lambda _, quality: _number(quality.rank_correlation)),
        ("calibration", lambda _, quality: _number(quality.calibration_change, ".2g")),
        ("", lambda trial, _: "" if trial.allowed else "beyond the budget"),
    ]
    lines = [(label, trial, quality) for trial in report.trials for label, quality in trial.quality.items()]
    columns = [(name, [text(trial, quality) for _, trial, quality in lines]) for name, text in shown]
    # A measure that is not defined for any of them has no column.
    told = [(name, texts) for name, texts in columns if any(texts) or name == ""]
    rows = [(label, *(texts[place] for _, texts in told)) for place, (label, *_) in enumerate(lines)]
    names = ("label", *(name for name, _ in told))
    output.table(names, rows, right=tuple(name for name in names[3:-1]))


def _spelled(formats: str | Mapping[str, str]) -> str:
    return formats if isinstance(formats, str) else ", ".join(map("=".join, formats.items()))


def _number(value: float, how: str = ".6f") -> str:
    return f"{value:{how}}" if value == value else ""
