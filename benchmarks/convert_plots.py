"""Plots of converted tables, as SVG and PNG: look-ups by batch beside a gather of known rows, and rates beside `cp`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.convert import GATHER
from benchmarks.plots import FLOOR_COLOUR, STYLE, add_caption, require_matplotlib, save_figure

COLUMNS = 3
LINES, MARKERS = ("-", "--", "-.", ":"), "osD^vx"
"""Curves that lie on one another stay apart by their dashes and marks."""
RATES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)
KEYS = {"dense": "dense ids", "hashed": "hashed keys"}

Line = dict[str, Any]


def draw(folder: Path, lines: Sequence[Line], measured_on: str = "") -> list[Path]:
    """lookups.svg has a panel for each table, rates.svg one for each kind of keys; the files, SVG before PNG.

    `measured_on` is the machine and the date, which stand below each plot.
    """
    matplotlib = require_matplotlib()
    plt = import_module("matplotlib.pyplot")
    written: list[Path] = []
    with matplotlib.rc_context(STYLE):
        for name, figure in (("lookups", _lookups(plt, lines)), ("rates", _rates(plt, lines))):
            if figure is None:
                continue
            add_caption(figure, measured_on)
            written += save_figure(figure, folder, name)
            plt.close(figure)
    return written


def _lookups(plt: Any, lines: Sequence[Line]) -> Any:
    limits = [line for line in lines if line["kind"] == GATHER]
    if not limits:
        return None
    kinds = list(dict.fromkeys(_variant(line) for line in lines if line["kind"] != GATHER))
    figure, axes = _panels(plt, len(limits))
    for axis, limit in zip(axes, limits, strict=True):
        _curve(axis, limit, color=FLOOR_COLOUR, linestyle="--", label="gather of known rows")
        for line in lines:
            if line["kind"] != GATHER and _table(line) == _table(limit):
                variant = _variant(line)
                number = kinds.index(variant)
                style = {"linestyle": LINES[number % len(LINES)], "marker": MARKERS[number % len(MARKERS)]}
                _curve(axis, line, color=f"C{number}", markersize=3, label=variant, **style)
        _, _, width, hotness, _ = _table(limit)
        keys_a_slot = "1 key a slot" if hotness == 1 else f"{hotness} keys a slot"
        axis.set(xscale="log", yscale="log", title=f"rows of {width} numbers, {keys_a_slot}", xlabel="batch")
        batches = [int(batch) for batch in limit["microseconds"]]
        axis.set_xticks(batches, [str(batch) for batch in batches])
        axis.yaxis.set_major_formatter("{x:,.0f}")
        axis.minorticks_off()
    for axis in axes[::COLUMNS]:
        axis.set_ylabel("microseconds a call")
    keys, rows, *_ = _table(limits[0])
    figure.suptitle(f"A look-up of 26 slots in a table of {rows:,} {KEYS[keys]} (both axes logarithmic)")
    _legend(figure, axes)
    return figure


def _curve(axis: Any, line: Line, **style: Any) -> None:
    axis.plot([int(batch) for batch in line["microseconds"]], list(line["microseconds"].values()), linewidth=1, **style)


def _rates(plt: Any, lines: Sequence[Line]) -> Any:
    """Bytes of float32 rows a second by the number of rows, and `cp` of the same bytes in the same run."""
    converted = [line for line in lines if line["kind"] != GATHER and "seconds" in line]
    if not converted:
        return None
    kinds = list(dict.fromkeys((line["keys"], line["cold"]) for line in converted))
    groups = list(dict.fromkeys(_group(line) for line in converted))
    figure, axes = _panels(plt, len(kinds))
    for axis, kind in zip(axes, kinds, strict=True):
        for number, group in enumerate(groups):
            own = [line for line in converted if (line["keys"], line["cold"]) == kind and _group(line) == group]
            own.sort(key=lambda line: int(line["rows"]))
            style = {"color": f"C{number}", "linewidth": 1.2, "markersize": 4}
            _rate(axis, own, "seconds", marker="o", label=f"converted, {_words(group)}", **style)
            _rate(
                axis, own, "copy_sync_seconds", linestyle="--", marker="x", label=f"cp and fsync, {group[2]}", **style
            )
        cache = "read from the disk" if kind[1] else "in the system's cache"
        axis.set(xscale="log", yscale="log", title=f"{KEYS[kind[0]]}, {cache}", xlabel="rows of the table")
        axis.set_yticks(RATES, [f"{rate:g}" for rate in RATES])
        axis.minorticks_off()
        shown = [each for line in axis.lines for each in line.get_ydata()]
        axis.set_ylim(min(shown) / 1.4, max(shown) * 1.4)
    for axis in axes[::COLUMNS]:
        axis.set_ylabel("GB of float32 rows a second")
    figure.suptitle("Rate of compiling and saving a table, beside cp (both axes logarithmic)")
    _legend(figure, axes)
    return figure


def _rate(axis: Any, lines: Sequence[Line], seconds: str, **style: Any) -> None:
    if lines:
        rates = [4e-9 * line["rows"] * line["width"] / line[seconds] for line in lines]
        axis.plot([line["rows"] for line in lines], rates, **style)


def _panels(plt: Any, count: int) -> tuple[Any, list[Any]]:
    columns = min(COLUMNS, count)
    rows = math.ceil(count / columns)
    figure, axes = plt.subplots(rows, columns, figsize=(2.4 + 2.9 * columns, 2.8 * rows), squeeze=False, sharey=True)
    for axis in axes.flat[count:]:
        axis.axis("off")
    return figure, list(axes.flat[:count])


def _legend(figure: Any, axes: Sequence[Any]) -> None:
    """Every label once."""
    found: dict[str, Any] = {}
    for axis in axes:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    figure.legend(list(found.values()), list(found), loc="outside right upper", frameon=False)


def _table(line: Line) -> tuple[str, int, int, int, bool]:
    return line["keys"], line["rows"], line["width"], line["hotness"], line["cold"]


def _variant(line: Line) -> str:
    strategy = "level 0" if line["strategy"] == "plain" else str(line["strategy"])
    return strategy if line["format"] == "fp32" else f"{strategy}, {line['format']}"


def _group(line: Line) -> tuple[str, str, str]:
    """Identify the curve of rates that a line belongs to; `auto` may choose another strategy for more rows."""
    return line["asked"], line["format"], f"rows of {line['width']}"


def _words(group: tuple[str, str, str]) -> str:
    asked, row_format, rows = group
    return ", ".join([rows, *([] if asked == "auto" else [asked]), *([] if row_format == "fp32" else [row_format])])
