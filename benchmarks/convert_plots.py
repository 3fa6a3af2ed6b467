"""Plots of converted tables, as SVG and PNG: look-ups by batch beside a gather of known rows, and rates beside `cp`."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.convert import GATHER
from benchmarks.plots import FLOOR_COLOUR, STYLE, require_matplotlib, save_figure

Line = dict[str, Any]


def draw(folder: Path, lines: Sequence[Line]) -> list[Path]:
    """lookups.svg has a panel for each table, rates.svg one for each kind of keys; the files, SVG before PNG."""
    matplotlib = require_matplotlib()
    plt = import_module("matplotlib.pyplot")
    written: list[Path] = []
    with matplotlib.rc_context(STYLE):
        for name, figure in (("lookups", _lookups(plt, lines)), ("rates", _rates(plt, lines))):
            written += save_figure(figure, folder, name)
            plt.close(figure)
    return written


def _lookups(plt: Any, lines: Sequence[Line]) -> Any:
    limits = [line for line in lines if line["kind"] == GATHER]
    figure, axes = plt.subplots(1, len(limits), figsize=(1.6 + 3.2 * len(limits), 3.4), squeeze=False, sharey=True)
    for axis, limit in zip(axes.flat, limits, strict=True):
        _curve(axis, limit, "gather of known rows", color=FLOOR_COLOUR, linestyle="--")
        for line in lines:
            if line["kind"] != GATHER and _table(line) == _table(limit):
                _curve(axis, line, f"{line['strategy']}, {line['format']}", marker="o", markersize=3)
        keys, rows, width, hotness = _table(limit)
        axis.set(
            xscale="log", yscale="log", title=f"{rows:,} {keys} keys, 26 x {hotness} rows of {width}", xlabel="batch"
        )
    axes.flat[0].set_ylabel("microseconds a look-up, one thread")
    _legend(figure, axes)
    return figure


def _curve(axis: Any, line: Line, label: str, **style: Any) -> None:
    batches = [int(batch) for batch in line["microseconds"]]
    axis.plot(batches, list(line["microseconds"].values()), label=label, linewidth=1, **style)
    axis.set_xticks(batches, [str(batch) for batch in batches])
    axis.minorticks_off()


def _rates(plt: Any, lines: Sequence[Line]) -> Any:
    """Bytes of float32 rows a second by the number of rows, and `cp` of the same bytes in the same run."""
    converted = [line for line in lines if line["kind"] != GATHER]
    kinds = list(dict.fromkeys((line["keys"], line["cold"]) for line in converted))
    figure, axes = plt.subplots(1, len(kinds), figsize=(1.6 + 3.6 * len(kinds), 3.4), squeeze=False, sharey=True)
    for axis, kind in zip(axes.flat, kinds, strict=True):
        mine = [line for line in converted if (line["keys"], line["cold"]) == kind]
        groups = dict.fromkeys((line["width"], line["strategy"], line["format"]) for line in mine)
        for number, (width, strategy, format) in enumerate(groups):
            own = [
                line for line in mine if (line["width"], line["strategy"], line["format"]) == (width, strategy, format)
            ]
            own.sort(key=lambda line: int(line["rows"]))
            rows, rates = [line["rows"] for line in own], [line["bytes_per_second"] / 1e9 for line in own]
            copies = [4e-9 * line["rows"] * line["width"] / line["copy_sync_seconds"] for line in own]
            axis.plot(rows, rates, color=f"C{number}", marker="o", markersize=3, label=f"{strategy}, {format}, {width}")
            axis.plot(rows, copies, color=f"C{number}", linestyle="--", linewidth=1, label=f"cp and sync, {width}")
        axis.set(xscale="log", yscale="log", title=f"{kind[0]} keys, {'cold' if kind[1] else 'warm'}", xlabel="rows")
    axes.flat[0].set_ylabel("GB a second")
    _legend(figure, axes)
    return figure


def _legend(figure: Any, axes: Any) -> None:
    """Every label once."""
    found = [pair for axis in axes.flat for pair in zip(*axis.get_legend_handles_labels(), strict=True)]
    handles = {label: handle for handle, label in reversed(found)}
    labels = list(dict.fromkeys(label for _, label in found))
    figure.legend([handles[label] for label in labels], labels, loc="outside right upper", frameon=False)


def _table(line: Line) -> tuple[str, int, int, int]:
    return line["keys"], line["rows"], line["width"], line["hotness"]
