"""`hugectr2onnx demo`: a sample model, from the folder that HugeCTR would write to predictions."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hugectr2onnx.cli.arguments import add_json
from hugectr2onnx.cli.output import Output
from hugectr2onnx.cli.sample import fresh
from hugectr2onnx.pages.numbers import size

if TYPE_CHECKING:
    from hugectr2onnx.compiled_model import CompiledModel
    from hugectr2onnx.sample_models import SamplePaths

SAMPLE = "wdl"
LEVELS = (0, 2)
_SHOWN_BATCHES = (1, 64)
ROWS_SHOWN = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--folder", metavar="F", help="keep the model and the ONNX files there (default: nothing is kept)"
    )
    add_json(parser)


def run(arguments: argparse.Namespace, output: Output) -> int:
    # onnxsim's process takes its time to start: the sooner the better.
    from hugectr2onnx.backend.simplify import worker

    worker.prewarm()
    with _workplace(arguments.folder) as folder:
        result = _demonstrate(folder, output)
    _say_what_next(output, arguments.folder)
    if output.json:
        output.data(result)
    return 0


@contextmanager
def _workplace(folder: str | None) -> Iterator[Path]:
    """Make a folder to work in: a temporary one, or one whose contents come to stand in `folder` in the end."""
    if folder is None:
        with tempfile.TemporaryDirectory(prefix="hugectr2onnx-demo-") as temporary:
            yield Path(temporary)
        return
    from hugectr2onnx.sample_models.writer import staged

    with fresh(Path(folder)), staged(Path(folder)) as scratch:
        yield scratch


def _demonstrate(folder: Path, output: Output) -> dict[str, Any]:
    sample = _write_and_check(folder, output)
    models = {level: _compile(sample, level, folder, output) for level in LEVELS}
    latency = _measure(sample, folder, output)
    rows = [_row(level, models[level], _file(folder, level), latency) for level in LEVELS]
    _show_models(output, rows)
    predictions = _predict(sample, models[LEVELS[-1]])
    _show_predictions(output, predictions)
    return {"sample": SAMPLE, "levels": rows, "predictions": predictions}


def _write_and_check(folder: Path, output: Output) -> SamplePaths:
    from hugectr2onnx.checking.dry_run import check
    from hugectr2onnx.errors import CompilerError
    from hugectr2onnx.sample_models import SAMPLES, write_sample

    output.say(f"1. A sample model, as HugeCTR would save it. {SAMPLES[SAMPLE].description}", "title")
    sample = write_sample(SAMPLE, folder, scale="realistic")
    report = check(sample.graph, sample.weights)
    if not report.ok:
        raise CompilerError(f"the sample is wrong: {report.problems[0].message}")
    dense = report.dense.expected_bytes if report.dense else 0
    output.say(f"   {SAMPLE}.json: {len(report.layers)} layers with {dense // 4:,} weights ({size(dense)})")
    for table in report.tables:
        output.say(f"   {table.top}: {table.rows:,} rows of width {table.vec_size} ({size(table.found_bytes)})")
    output.say("   Checked: nothing is wrong with it.")
    return sample


def _compile(sample: SamplePaths, level: int, folder: Path, output: Output) -> CompiledModel:
    from hugectr2onnx.compiler import compile

    output.say(f"{LEVELS.index(level) + 2}. Compiled at level {level}, compared with the float64 reference.", "title")
    with output.progress() as progress:
        model = compile(sample.graph, sample.weights, level, progress=progress)
    model.save(_file(folder, level))
    return model


def _file(folder: Path, level: int) -> Path:
    return folder / f"{SAMPLE}_O{level}.onnx"


def _measure(sample: SamplePaths, folder: Path, output: Output) -> dict[int, dict[int, float]]:
    """Return the median milliseconds by level and batch, of the files as they were saved."""
    from hugectr2onnx.backend.runtime import sessions
    from hugectr2onnx.cli.timing import medians
    from hugectr2onnx.sample_models import sample_feeds

    output.say(f"{len(LEVELS) + 2}. Run on this machine's CPU, the two models in turn.", "title")
    opened = {level: sessions.open_session(_file(folder, level)) for level in LEVELS}
    found: dict[int, dict[int, float]] = {level: {} for level in LEVELS}
    for batch in _SHOWN_BATCHES:
        feeds = sample_feeds(sample, batch)
        for level, seconds in medians(opened, feeds).items():
            found[level][batch] = 1e3 * seconds
    return found


def _row(level: int, model: CompiledModel, path: Path, latency: dict[int, dict[int, float]]) -> dict[str, Any]:
    report = model.report
    return {
        "level": level,
        "nodes": report.onnx_nodes,
        "bytes": path.stat().st_size,
        "compile_seconds": report.seconds,
        "parity_error": max((each.max_error for each in report.parity.outputs), default=0.0) if report.parity else None,
        "latency_ms": {str(batch): latency[level][batch] for batch in _SHOWN_BATCHES},
        "speed_up": {str(batch): latency[LEVELS[0]][batch] / latency[level][batch] for batch in _SHOWN_BATCHES},
    }


def _show_models(output: Output, rows: list[dict[str, Any]]) -> None:
    columns = ["", *(f"level {row['level']}" for row in rows)]
    lines = [
        ("nodes", *(row["nodes"] for row in rows)),
        ("file", *(size(row["bytes"]) for row in rows)),
        ("compiled in", *(f"{row['compile_seconds']:.2f} s" for row in rows)),
        ("largest parity error", *(f"{row['parity_error']:.1e}" for row in rows)),
    ]
    for batch in map(str, _SHOWN_BATCHES):
        lines.append((f"latency, batch {batch}", *(f"{row['latency_ms'][batch]:.3f} ms" for row in rows)))
        lines.append(("  against level 0", *(f"{row['speed_up'][batch]:.2f} x" for row in rows)))
    output.table(columns, lines, right=columns[1:])


def _predict(sample: SamplePaths, model: CompiledModel) -> list[float]:
    from hugectr2onnx.sample_models import sample_feeds

    (answers,) = model.run(sample_feeds(sample, ROWS_SHOWN, seed=1)).values()
    return [float(answer) for answer in answers.ravel()[:ROWS_SHOWN]]


def _show_predictions(output: Output, predictions: list[float]) -> None:
    output.say(f"{len(LEVELS) + 3}. Predictions for {ROWS_SHOWN} rows.", "title")
    output.say("   " + "  ".join(f"{prediction:.4f}" for prediction in predictions))


def _say_what_next(output: Output, folder: str | None) -> None:
    output.title("Try next")
    place = folder or "wdl_model"
    if folder is None:
        output.say(f"  hugectr2onnx sample {SAMPLE} {place}")
    output.say(f"  hugectr2onnx inspect {place}/{SAMPLE}.json --weights {place}")
    output.say(f"  hugectr2onnx compile {place}/{SAMPLE}.json --weights {place} -o {SAMPLE}.onnx")
    output.say(f"  hugectr2onnx verify {SAMPLE}.onnx --against {place}/{SAMPLE}.json --weights {place}")
    output.say("and then your own: hugectr2onnx check GRAPH --weights FOLDER")
