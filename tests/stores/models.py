"""A model with everything that a look-up can have, small enough to store in a moment."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import hugectr2onnx
from hugectr2onnx.frontend.loading import load
from hugectr2onnx.ir.feeds import feeds_for
from hugectr2onnx.options import Options
from hugectr2onnx.sample_models.builder import ModelBuilder, SparseParam
from hugectr2onnx.sample_models.generate import generate_weights

SIZES = (30, 30, 30, 40, 40)
"""The reader's list: three slots of the first input, two of the second."""


@dataclass(frozen=True)
class Model:
    """A graph JSON and its snapshot."""

    graph: dict[str, Any]
    weights: Any
    options: Options

    def compile(self, **changes: Any) -> hugectr2onnx.CompiledModel:
        return hugectr2onnx.compile(self.graph, self.weights, options=self.options.changed(**changes))

    def feeds(self, batch: int, seed: int = 0) -> dict[str, np.ndarray]:
        """Known keys, unknown and extreme ones, padding, repeats and empty slots."""
        feeds = feeds_for(load(self.graph, self.weights, self.options).graph, batch, seed)
        if batch > 2:
            feeds["many"][1] = -1
        return feeds


def write_model(folder: Path, seed: int = 0, rows: int = 90, **options: Any) -> Model:
    """Two tables that read one input (mean and sum), and one of rows of one number; keys with the reader's offsets."""
    builder = ModelBuilder(SparseParam("many", 3, nnz=4, fixed=False), SparseParam("one", 2), dense=5)
    builder.slot_size_array = SIZES
    builder.embedding("many", "averaged", 8, rows, combiner="mean")
    builder.embedding("many", "summed", 4, rows - 7)
    builder.embedding("one", "wide", 1, 60)
    builder.reshape("averaged", "flat1", 24)
    builder.reshape("summed", "flat2", 12)
    builder.reshape("wide", "flat3", 2)
    builder.concat(["flat1", "flat2", "flat3", "dense"], "joined")
    builder.fc(builder.relu(builder.fc("joined", "fc1", 16), "relu1"), "fc2", 1)
    builder.loss("fc2")
    graph = builder.graph()
    weights = generate_weights(
        graph, folder, seed=seed, rows=builder.rows, keys="offsets", prefix=f"m{seed}", slot_size_array=SIZES
    )
    return Model(graph, weights, Options(slot_size_array=SIZES, **options))


def same_bits(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> bool:
    """Whether two answers agree in names, shapes and every bit."""
    return found.keys() == expected.keys() and all(
        found[name].dtype == array.dtype and found[name].tobytes() == array.tobytes()
        for name, array in expected.items()
    )
