"""`python -m benchmarks quality`: what smaller formats cost models that learned something."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

import hugectr2onnx
from benchmarks.errors import BenchmarkError
from benchmarks.markdown import markdown
from benchmarks.quality_data import Clicks, click_log, feeds, movielens
from benchmarks.quality_models import MODELS, Trainable
from hugectr2onnx.ir.types import Array
from hugectr2onnx.options import Options
from hugectr2onnx.quantization.metrics import answer_samples, judge

FORMATS: Mapping[str, Mapping[str, Any]] = {
    "fp32": {},
    "int8 products": {"precision": "int8"},
    "fp16 rows": {"embedding": "fp16"},
    "int8 rows": {"embedding": "int8"},
    "int8 products and rows": {"precision": "int8", "embedding": "int8"},
}
BATCHES = {"MovieLens-100k": 512, "clicks": 2048}
RATE = 1e-3
DECAY = 1e-5


@dataclass(frozen=True)
class QualityLine:
    """One label of one model in one format; `calibration` is the mean prediction over the mean label."""

    data: str
    model: str
    format: str
    label: str
    samples: int
    auc: float
    share_of_auc: float
    log_loss: float
    calibration: float
    max_change: float
    mean_change: float
    products: int
    products_in_bytes: int


def add_arguments(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "models", nargs="*", metavar="MODEL", help=f"of {', '.join(MODELS)}; all of them if none is named"
    )
    verb.add_argument("--data", choices=("movielens", "clicks", "both"), default="both")
    verb.add_argument("--rows", type=int, default=1_000_000, help="of the click log (1000000)")
    verb.add_argument("--epochs", type=int, help="passes over the data (MovieLens 6, clicks 1)")
    verb.add_argument("--json", type=Path, help="file for the JSON lines")


def run(arguments: argparse.Namespace) -> int:
    """Train, convert and measure; raises BenchmarkError for a model that there is not, or without the extra `quality`."""
    try:
        import jax  # noqa: F401
        import optax  # noqa: F401
    except ImportError as missing:
        raise BenchmarkError(
            f"training needs the extra quality: pip install hugectr2onnx[quality] ({missing})"
        ) from None
    unknown = [name for name in arguments.models if name not in MODELS]
    if unknown:
        raise BenchmarkError(f"no model {unknown[0]}; there are {', '.join(MODELS)}")
    lines = []
    for clicks, epochs in _data(arguments):
        for name in arguments.models or MODELS:
            for line in measure(name, clicks, arguments.epochs or epochs):
                lines.append(line)
                if arguments.json:
                    with arguments.json.open("a", encoding="utf-8") as file:
                        file.write(json.dumps({"kind": "quality", **asdict(line)}) + "\n")
    sys.stdout.write(markdown(HEADINGS, [_row(line) for line in lines]))
    return 0


HEADINGS = ("data", "model", "label", "format", "AUC", "of fp32", "log-loss", "calibration", "largest change", "mean")


def _row(line: QualityLine) -> list[str]:
    return [
        line.data,
        line.model,
        line.label,
        line.format,
        f"{line.auc:.5f}",
        f"{line.share_of_auc:.3%}",
        f"{line.log_loss:.5f}",
        f"{line.calibration:.4f}",
        f"{line.max_change:.2g}",
        f"{line.mean_change:.2g}",
    ]


def _data(arguments: argparse.Namespace) -> Iterator[tuple[Clicks, int]]:
    if arguments.data in ("movielens", "both"):
        yield movielens(), 6
    if arguments.data in ("clicks", "both"):
        yield click_log(arguments.rows), 1


def measure(name: str, clicks: Clicks, epochs: int) -> Iterator[QualityLine]:
    """Train a model and give its quality in every format."""
    training, validation = clicks.split()
    model = MODELS[name](clicks)
    start = time.perf_counter()
    weights, table = train(model, training, epochs)
    sys.stderr.write(f"{clicks.name} {name}: trained in {time.perf_counter() - start:.0f} s\n")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / name
        graph = model.write(folder, weights, table)
        yield from _formats(name, model, validation, graph, folder)


def _formats(name: str, model: Trainable, validation: Clicks, graph: Path, folder: Path) -> Iterator[QualityLine]:
    labels = {label: validation.labels[:, [place]] for place, label in enumerate(sorted(model.labels))}
    samples = {**feeds(validation, model.slots, model.offsets, dense=True), **labels}
    before = None
    for format, options in FORMATS.items():
        compiled = hugectr2onnx.compile(graph, folder, options=Options(**options))
        inputs = {value.node.name for value in compiled.ir.inputs}
        own = {each: array for each, array in samples.items() if each in inputs or each in labels}
        answers = answer_samples(compiled, own)
        before = before or answers
        exact = {each.label: each for each in judge(before, before)}
        products = compiled.report.products
        for each in judge(answers, before):
            predicted, true = (float(held[each.label].mean()) for held in (answers.predictions, answers.labels))
            yield QualityLine(
                validation.name,
                name,
                format,
                each.label,
                each.samples,
                each.auc,
                each.auc / exact[each.label].auc,
                each.log_loss,
                predicted / true,
                each.max_change,
                each.mean_change,
                len(products),
                sum(product.precision == "int8" for product in products),
            )


def train(model: Trainable, clicks: Clicks, epochs: int) -> tuple[Mapping[str, Array], Array]:
    """(the dense weights by name, the table) after so many passes, by Adam."""
    import jax
    import jax.numpy as jnp
    import optax

    optimizer = optax.adamw(RATE, weight_decay=DECAY)
    parameters: Any = ({name: jnp.asarray(each) for name, each in model.weights.items()}, jnp.asarray(model.table))
    state = optimizer.init(parameters)

    def loss(parameters: Any, keys: Any, dense: Any, labels: Any) -> Any:
        weights, table = parameters
        logits = model.forward(weights, table[keys], dense)
        return optax.sigmoid_binary_cross_entropy(logits, labels).mean()

    def step(parameters: Any, state: Any, keys: Any, dense: Any, labels: Any) -> Any:
        gradient = jax.grad(loss)(parameters, keys, dense, labels)
        changes, state = optimizer.update(gradient, state, parameters)
        return optax.apply_updates(parameters, changes), state

    fast = jax.jit(step)
    keys = (clicks.keys[:, : model.slots] + model.offsets[None, :-1]).astype(np.int32)
    order, size = np.random.default_rng(1), BATCHES[clicks.name]
    places = [sorted(model.labels).index(label) for label in model.labels]
    for _ in range(epochs):
        shuffled = order.permutation(len(keys))
        for start in range(0, len(keys) - size + 1, size):
            rows = shuffled[start : start + size]
            parameters, state = fast(parameters, state, keys[rows], clicks.dense[rows], clicks.labels[rows][:, places])
    weights, table = parameters
    return {name: np.asarray(each) for name, each in weights.items()}, np.asarray(table)
