"""The plots, as SVG and PNG: speed-up by model, latency by batch, and where the time goes before and after."""

from __future__ import annotations

import math
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.candidates import NAIVE
from benchmarks.errors import BenchmarkError
from benchmarks.records import CandidateLine, FloorLine

COLUMNS = 4
SHOWN_OPS = 10
BAR_BATCH = 64
SPEEDUP_BATCHES = (1, 64, 1024)
MEAN = "geometric\nmean"
RUNTIME_OPS = {"FusedGemm": "Gemm with activation", "FusedMatMul": "MatMul with transpose"}
"""Operators that onnxruntime makes by fusion, in words that a reader of the file knows."""
FLOOR_COLOUR, OTHER_COLOUR = "0.35", "0.85"
SPEEDUP_COLOURS = ("#9ecae1", "#4292c6", "#08519c")
# A hash salt and no date: the same figures give the same file.
STYLE = {"svg.hashsalt": "hugectr2onnx", "svg.fonttype": "path", "font.size": 9, "axes.grid": True, "grid.alpha": 0.3,
          "axes.spines.top": False, "axes.spines.right": False, "figure.constrained_layout.use": True}  # fmt: skip


def require_matplotlib() -> Any:
    """matplotlib without a screen; raises BenchmarkError where it is not installed."""
    try:
        matplotlib = import_module("matplotlib")
    except ImportError as error:
        raise BenchmarkError(
            "The plots need matplotlib: python -m pip install 'hugectr2onnx[bench]'; or leave out --out and use --json."
        ) from error
    matplotlib.use("Agg")
    return matplotlib


def draw(
    folder: Path, lines: Sequence[CandidateLine], floors: Sequence[FloorLine], measured_on: str = ""
) -> list[Path]:
    """Three plots for every thread count that was measured; the files, SVG before PNG.

    `measured_on` is the machine and the date, which stand below each plot.
    """
    matplotlib = require_matplotlib()
    plt = import_module("matplotlib.pyplot")
    written: list[Path] = []
    with matplotlib.rc_context(STYLE):
        for threads in sorted({line.case.threads for line in lines}):
            mine = [line for line in lines if line.case.threads == threads]
            below = [floor for floor in floors if floor.case.threads == threads]
            figures = {
                "speedup": _speedup(plt, mine),
                "latency": _latency(plt, mine, below) if below else None,
                "operators": _operators(plt, mine),
            }
            for name, figure in figures.items():
                if figure is not None:
                    add_caption(figure, f"{threads} thread{'s' if threads > 1 else ''}, {measured_on}".rstrip(", "))
                    written += save_figure(figure, folder, f"{name}_threads{threads}")
                    plt.close(figure)
    return written


def add_caption(figure: Any, text: str) -> None:
    """Small text at the lower left, below everything else."""
    if text:
        figure.supxlabel(text, x=0.01, ha="left", fontsize=7.5, color="0.35")


def _speedup(plt: Any, lines: Sequence[CandidateLine]) -> Any:
    """How many times faster the last level is than level 0, by model: a bar for each of a few batches; None without."""
    levels = [line for line in lines if line.candidate.startswith("level ") and line.candidate != NAIVE]
    measured = sorted({line.case.batch for line in levels})
    if not levels:
        return None
    batches = [batch for batch in measured if batch in SPEEDUP_BATCHES] or measured[:3]
    last = levels[-1].candidate
    ratios = {(line.case.model, line.case.batch): line.ratio.median for line in levels if line.candidate == last}
    models = list(dict.fromkeys(line.case.model for line in levels))
    figure, axis = plt.subplots(figsize=(1.6 + 0.68 * (len(models) + 1), 3.6))
    width = 0.8 / len(batches)
    for number, batch in enumerate(batches):
        heights = [ratios.get((model, batch), math.nan) for model in models]
        heights.append(_geometric_mean([each for each in heights if not math.isnan(each)]))
        places = [place + (number - (len(batches) - 1) / 2) * width for place in range(len(heights))]
        axis.bar(places, heights, width, label=f"batch {batch}", color=SPEEDUP_COLOURS[number], zorder=2)
        if number == len(batches) - 1:
            for place, height in zip(places, heights, strict=True):
                axis.annotate(f"{height:.1f}", (place, height), ha="center", va="bottom", fontsize=7)
    axis.axhline(1, color="0.25", linewidth=1, zorder=3)
    axis.axvline(len(models) - 0.5, color="0.7", linewidth=0.8)
    axis.set_xticks(range(len(models) + 1), [*models, MEAN], rotation=40, ha="right")
    axis.set_ylabel(f"times faster than {NAIVE}")
    axis.grid(visible=False, axis="x")
    axis.set_title(f"Speed-up of {last} over {NAIVE} ({NAIVE} = 1)", loc="left")
    axis.legend(frameon=False, loc="upper left")
    return figure


def _geometric_mean(values: Sequence[float]) -> float:
    return math.exp(sum(map(math.log, values)) / len(values)) if values else math.nan


def _latency(plt: Any, lines: Sequence[CandidateLine], floors: Sequence[FloorLine]) -> Any:
    models = list(dict.fromkeys(line.case.model for line in lines))
    candidates = list(dict.fromkeys(line.candidate for line in lines))
    columns = min(COLUMNS, len(models))
    rows = math.ceil(len(models) / columns)
    figure, axes = plt.subplots(rows, columns, figsize=(3.2 * columns, 2.6 * rows), squeeze=False)
    for place, axis in enumerate(axes.flat):
        if place >= len(models):
            axis.axis("off")
            continue
        _latency_of(axis, models[place], candidates, lines, floors)
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    for axis in axes[:, 0]:
        axis.set_ylabel("microseconds a call")
    for axis in axes[-1, :]:
        axis.set_xlabel("batch")
    figure.suptitle("Latency by batch (both axes logarithmic)")
    return figure


def _latency_of(
    axis: Any, model: str, candidates: Sequence[str], lines: Sequence[CandidateLine], floors: Sequence[FloorLine]
) -> None:
    below = sorted((floor.case.batch, floor.median_us) for floor in floors if floor.case.model == model)
    axis.fill_between(*zip(*below, strict=True), y2=0, color=OTHER_COLOUR, linewidth=0)
    axis.plot(*zip(*below, strict=True), color=FLOOR_COLOUR, linestyle="--", linewidth=1, label="floor")
    for number, candidate in enumerate(candidates):
        mine = [line for line in lines if (line.case.model, line.candidate) == (model, candidate)]
        points = sorted((line.case.batch, line.median_us) for line in mine)
        if points:
            axis.plot(*zip(*points, strict=True), color=f"C{number}", marker="o", markersize=3, label=candidate)
    axis.set(xscale="log", yscale="log", title=model)
    batches = [batch for batch, _ in below]
    axis.set_xticks(batches, [str(batch) for batch in batches])
    axis.minorticks_off()


def _operators(plt: Any, lines: Sequence[CandidateLine]) -> Any:
    """Time by operator at one batch: level 0 above the last level of each model; None where nothing was profiled."""
    batches = sorted({line.case.batch for line in lines if line.ops})
    if not batches:
        return None
    batch = BAR_BATCH if BAR_BATCH in batches else batches[-1]
    bars = _bars([line for line in lines if line.case.batch == batch and line.ops])
    ops = _largest_ops(bars)
    figure, axis = plt.subplots(figsize=(10, 0.9 + 0.26 * len(bars)))
    places = _grouped_places([line.case.model for line in bars])
    for place, line in zip(places, bars, strict=True):
        length = 1 / line.ratio.median
        _draw_bar(axis, place, line, ops, length)
        end = f" {line.median_us:,.0f} \u00b5s" if line.median_us else f" {length:.2f}"
        axis.annotate(end, (length, place), va="center", fontsize=7)
    axis.set_yticks(places, [f"{line.case.model}, {line.candidate}" for line in bars])
    axis.invert_yaxis()
    axis.grid(visible=False, axis="y")
    axis.set_xlabel(f"time of a call, {NAIVE} of each model = 1")
    axis.set_title(f"Time by operator at batch {batch}", loc="left")
    handles = [plt.Rectangle((0, 0), 1, 1, color=_colour(ops, op)) for op in [*ops, "other"]]
    labels = [RUNTIME_OPS.get(op, op) for op in ops]
    figure.legend(handles, [*labels, "other"], loc="outside right upper", frameon=False)
    return figure


def _grouped_places(models: Sequence[str]) -> list[float]:
    """Place the bars: those of one model side by side, a gap before the next model."""
    places: list[float] = []
    for number, model in enumerate(models):
        gap = 0.55 if number and models[number - 1] != model else 0.0
        places.append((places[-1] + 1 if places else 0.0) + gap)
    return places


def _bars(lines: Sequence[CandidateLine]) -> list[CandidateLine]:
    """Level 0 and the last level of each model."""
    bars = []
    for model in dict.fromkeys(line.case.model for line in lines):
        levels = {line.candidate: line for line in lines if line.case.model == model}
        levels = {name: levels[name] for name in sorted(levels) if name.startswith("level ")}
        if NAIVE in levels:
            bars += [levels[name] for name in dict.fromkeys([NAIVE, list(levels)[-1]])]
    return bars


def _largest_ops(bars: Sequence[CandidateLine]) -> list[str]:
    totals: dict[str, float] = {}
    for line in bars:
        for op, share in line.ops.items():
            totals[op] = totals.get(op, 0.0) + share
    return sorted(totals, key=lambda op: -totals[op])[:SHOWN_OPS]


def _draw_bar(axis: Any, place: float, line: CandidateLine, ops: Sequence[str], length: float) -> None:
    shares = {op: line.ops.get(op, 0.0) for op in ops}
    shares["other"] = max(0.0, 1 - sum(shares.values()))
    start = 0.0
    for op, share in shares.items():
        axis.barh(place, share * length, left=start, color=_colour(ops, op), height=0.75)
        start += share * length


def _colour(ops: Sequence[str], op: str) -> str:
    return f"C{list(ops).index(op)}" if op in ops else OTHER_COLOUR


def save_figure(figure: Any, folder: Path, name: str) -> list[Path]:
    paths = [folder / f"{name}.svg", folder / f"{name}.png"]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        figure.savefig(paths[0], metadata={"Date": None})
        figure.savefig(paths[1], dpi=150, metadata={"Software": None})
    except OSError as error:
        raise BenchmarkError(
            f"Cannot write {folder}: {error.strerror}. Choose a folder that you may write to."
        ) from error
    return paths
