"""The ONNX expansions of a recommender's own operations compute on onnxruntime what `evaluate` says."""

from __future__ import annotations

import os

import numpy as np
import pytest

from hugectr2onnx.backend.onnx.emitter import emit
from hugectr2onnx.ir.graph import Graph
from hugectr2onnx.ir.ops.attention import Attention, MaskedSoftmax
from hugectr2onnx.ir.ops.dice import Dice, FrozenDice
from hugectr2onnx.ir.ops.gru import Gru
from hugectr2onnx.ir.ops.interaction import DotInteraction
from hugectr2onnx.ir.ops.sequence_mask import SequenceMask
from hugectr2onnx.ir.types import N, f32

os.environ["ORT_DISABLE_TELEMETRY"] = "1"
RNG = np.random.default_rng(7)
KEYS = f32(N, 6, 8)

CASES = {
    "masked_softmax": (MaskedSoftmax(0.5), [f32(N, 2, 4, 6), f32(N, 1, 4, 6)]),
    "attention": (Attention(2), [f32(N, 4, 8), KEYS, KEYS]),
    "attention, masked": (Attention(4, masked=True), [f32(N, 4, 8), KEYS, KEYS, f32(N, 1, 4, 6)]),
    "dice": (Dice(0.2, 1e-8), [f32(N, 3)]),
    "frozen_dice": (FrozenDice(0.2, 1e-8), [f32(N, 3), f32(3), f32(3)]),
    "gru": (Gru(), [f32(3, N, 5), f32(12, 5), f32(12, 4), f32(12)]),
    "dot_interaction": (DotInteraction(), [f32(N, 4), f32(N, 3, 4)]),
    "sequence_mask, one length": (SequenceMask(1, 4), [f32(N, 1)]),
    "sequence_mask, two lengths": (SequenceMask(3, 4), [f32(N, 1), f32(N, 1)]),
}


def operands(op, types, batch):
    """Numbers around 0, and ones and zeros for the second or fourth operand that is a mask."""
    arrays = [RNG.standard_normal(type.concrete(batch)).astype(np.float32) for type in types]
    if isinstance(op, MaskedSoftmax) or (isinstance(op, Attention) and op.masked):
        arrays[-1] = (arrays[-1] > 0).astype(np.float32)
        arrays[-1][..., 0] = 1
    if isinstance(op, FrozenDice):
        arrays[-1] = np.abs(arrays[-1])
    return [3 * array for array in arrays] if isinstance(op, SequenceMask) else arrays


@pytest.mark.parametrize("opset", [17, 21])
@pytest.mark.parametrize("batch", [1, 5])
@pytest.mark.parametrize("case", CASES)
def test_the_expansion_agrees(case, batch, opset):
    import onnxruntime

    op, types = CASES[case]
    arrays = operands(op, types, batch)
    graph = Graph()
    names = [f"x{i}" for i in range(len(types))]
    batched = {name: type for name, type in zip(names, types, strict=True) if N in type.shape}
    values = [
        graph.input(name, batched[name]) if name in batched else graph.const(array, name)
        for name, array in zip(names, arrays, strict=True)
    ]
    graph.output({"y": op(*values)})
    model = emit(graph, graph_name="test", opset=opset, version="0", metadata={}).inline()
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (y,) = session.run(["y"], {name: array for name, array in zip(names, arrays, strict=True) if name in batched})
    np.testing.assert_allclose(y, op.evaluate(*(a.astype(np.float64) for a in arrays)), rtol=2e-5, atol=2e-6)
