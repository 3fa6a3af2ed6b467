"""Random HugeCTR graphs whose layers fit: every pass and every level keeps what they compute, and the compiler proves it.

A graph grows layer by layer from dense features and embeddings. A tensor is known by its rows for each sample and its
further dimensions, so that only layers are added whose rules are met (layers 1.1, 1.3 and 3). Tops may have several
readers, some behind the Slice that HugeCTR inserts for that.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import hugectr2onnx
from hugectr2onnx import passes
from hugectr2onnx.frontend import graph_json, importer
from hugectr2onnx.frontend.dense_file import DenseRecorder
from hugectr2onnx.frontend.importer import ImportOptions, Sources
from hugectr2onnx.frontend.layers.layer import REGISTRY
from hugectr2onnx.frontend.sparse_table import SparseTable
from hugectr2onnx.frontend.statistics import InventedStatistics
from hugectr2onnx.ir.evaluator import evaluate
from hugectr2onnx.ir.feeds import feeds_for, smallest_batch
from hugectr2onnx.ir.graph import Graph
from hugectr2onnx.ir.verifier import verify
from hugectr2onnx.sample_models import generate_weights

ROWS = 20
WIDEST = 64
PASSES = list(dict.fromkeys(each for pipeline in passes.PIPELINES.values() for each in pipeline))
BOUNDED = settings(
    deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


@dataclass(frozen=True)
class Tensor:
    name: str
    rows: Fraction
    dims: tuple[int, ...]

    @property
    def width(self) -> int:
        return self.dims[-1]


@dataclass
class Growing:
    """A graph as far as it has been drawn."""

    draw: Callable[[Any], Any]
    layers: list[dict[str, Any]] = field(default_factory=list)
    tensors: list[Tensor] = field(default_factory=list)

    def number(self, low: int, high: int) -> int:
        return self.draw(st.integers(low, high))

    def pick(self, fits: Callable[[Tensor], bool] = lambda tensor: True) -> Tensor | None:
        """A tensor, every other time the newest: rules match chains."""
        fitting = [tensor for tensor in reversed(self.tensors) if fits(tensor)]
        return self.draw(st.just(fitting[0]) | st.sampled_from(fitting)) if fitting else None

    def add(self, type: str, bottoms: list[Tensor], *shapes: Any, tops: Any = None, **params: Any) -> None:
        """A layer whose tops have these (rows, dims)."""
        names = tops or [f"{type.lower()}{len(self.layers)}_{i}" for i in range(len(shapes))]
        tensors = [Tensor(name, *shape) for name, shape in zip(names, shapes, strict=True)]
        bottom, top = [tensor.name for tensor in bottoms], list(names)
        clause = {
            "type": type,
            "bottom": bottom[0] if len(bottom) == 1 else bottom,
            "top": top[0] if len(top) == 1 else top,
        }
        self.layers.append(clause | params)
        self.tensors += tensors


def flat(tensor: Tensor) -> bool:
    return len(tensor.dims) == 1


def slotted(tensor: Tensor) -> bool:
    return len(tensor.dims) == 2


def add_one_of(*types: str, **params: Any) -> Callable[[Growing], None]:
    """Layers that keep the shape of any bottom."""

    def grow(g: Growing) -> None:
        x = g.pick()
        g.add(g.draw(st.sampled_from(types)), [x], (x.rows, x.dims), **params)

    return grow


def add_inner_product(g: Growing) -> None:
    x, outputs = g.pick(), g.number(1, 6)
    g.add("InnerProduct", [x], (x.rows, (*x.dims[:-1], outputs)), fc_param={"num_output": outputs})


def add_fused_inner_product(g: Growing) -> None:
    x, outputs = g.pick(flat), g.number(1, 6)
    activation = g.draw(st.sampled_from(["Relu", "None"]))
    params = {"fc_param": {"num_output": outputs}, "position": "Tail", "activation": activation}
    g.add("FusedInnerProduct", [x], (x.rows, (outputs,)), **params)


def add_mlp(g: Growing) -> None:
    x, outputs = g.pick(flat), g.draw(st.lists(st.integers(1, 6), min_size=1, max_size=3))
    g.add(
        "MLP", [x], (x.rows, (outputs[-1],)), mlp_param={"num_outputs": outputs, "activation": "Relu", "use_bias": True}
    )


def add_batch_norm(g: Growing) -> None:
    x = g.pick(flat)
    g.add("BatchNorm", [x], (x.rows, x.dims), bn_param={"factor": 0.9, "eps": 1e-3})


def add_multi_cross(g: Growing) -> None:
    x = g.pick(flat)
    g.add("MultiCross", [x], (x.rows, x.dims), mc_param={"num_layers": g.number(1, 3)})


def add_concat(g: Growing) -> None:
    first = g.pick()
    axis = 1 if flat(first) else g.number(1, 2)
    other = 2 - axis

    def fits(t: Tensor) -> bool:
        return (
            len(t.dims) == len(first.dims) and t.rows == first.rows and (flat(t) or t.dims[other] == first.dims[other])
        )

    bottoms = [first, *(g.pick(fits) for _ in range(g.number(0, 2)))]
    dims = list(first.dims)
    dims[axis - 1] = sum(t.dims[axis - 1] for t in bottoms)
    if max(dims) <= WIDEST:
        g.add("Concat", bottoms, (first.rows, tuple(dims)), **({} if flat(first) else {"axis": axis}))


def add_elementwise(g: Growing) -> None:
    first = g.pick()
    type = g.draw(st.sampled_from(["Add", "Sub", "ElementwiseMultiply"]))
    count = 1 if type == "Sub" else g.number(1, 2)
    others = [g.pick(lambda t: (t.rows, t.dims) == (first.rows, first.dims)) for _ in range(count)]
    g.add(type, [first, *others], (first.rows, first.dims))


def add_slice(g: Growing) -> None:
    x = g.pick()
    cuts = [sorted((g.number(0, x.width - 1), g.number(1, x.width))) for _ in range(g.number(1, 3))]
    starts, ends = (sorted(each) for each in zip(*[(a, max(b, a + 1)) for a, b in cuts], strict=True))
    ranges = [[a, b] for a, b in zip(starts, ends, strict=True)]
    g.add("Slice", [x], *((x.rows, (*x.dims[:-1], b - a)) for a, b in ranges), ranges=ranges)


def add_inserted_copies(g: Growing) -> None:
    """What HugeCTR inserts where a tensor has several readers (layers 1.3)."""
    x = g.pick(lambda t: not any(t.name + "_slice0" == other.name for other in g.tensors))
    if x is not None:
        tops = [f"{x.name}_slice{i}" for i in range(g.number(2, 3))]
        g.add("Slice", [x], *((x.rows, x.dims) for _ in tops), tops=tops, ranges=[[0, x.width] for _ in tops])


def add_reduction(g: Growing) -> None:
    x = g.pick()
    axis = g.number(1, len(x.dims))
    dims = tuple(1 if i == axis - 1 else dim for i, dim in enumerate(x.dims))
    g.add(g.draw(st.sampled_from(["ReduceSum", "ReduceMean"])), [x], (x.rows, dims), axis=axis)


def add_flattening(g: Growing) -> None:
    x = g.pick(slotted)
    width = x.dims[0] * x.dims[1] if x else 0
    if x and width <= WIDEST:
        g.add("Reshape", [x], (x.rows, (width,)), leading_dim=width, time_step=0)


def add_selection(g: Growing) -> None:
    x = g.pick(slotted)
    if x is not None:
        slots = g.draw(st.lists(st.integers(0, x.dims[0] - 1), min_size=1, max_size=3))
        g.add("Reshape", [x], (x.rows, (len(slots) * x.width,)), selected=slots)


def add_folding(g: Growing) -> None:
    """A Reshape that makes rows of parts of a sample, or slots of columns."""
    x = g.pick(flat)
    part = g.draw(st.sampled_from([d for d in range(1, x.width + 1) if x.width % d == 0]))
    if g.draw(st.booleans()):
        g.add("Reshape", [x], (x.rows * (x.width // part), (part,)), leading_dim=part, time_step=0)
    else:
        g.add("Reshape", [x], (x.rows, (x.width // part, part)), leading_dim=part, time_step=x.width // part)


def add_unfolding(g: Growing) -> None:
    x = g.pick(lambda t: flat(t) and t.rows > 1 and t.rows * t.width <= WIDEST)
    if x is not None:
        width = int(x.rows * x.width)
        g.add("Reshape", [x], (Fraction(1), (width,)), leading_dim=width, time_step=0)


def add_weight_multiply(g: Growing) -> None:
    x, length = g.pick(flat), g.number(1, 3)
    if x.width * length <= WIDEST:
        g.add("WeightMultiply", [x], (x.rows, (x.width * length,)), weight_dims=[x.width, length])


def add_fm(g: Growing) -> None:
    x = g.pick(flat)
    length = g.draw(st.sampled_from([d for d in range(1, x.width + 1) if x.width % d == 0]))
    g.add("FmOrder2", [x], (x.rows, (length,)), out_dim=length)


def add_interaction(g: Growing) -> None:
    slots = g.pick(slotted)
    mlp = g.pick(lambda t: flat(t) and t.rows == slots.rows and t.width == slots.width) if slots else None
    if mlp is not None:
        count = slots.dims[0]
        g.add("Interaction", [mlp, slots], (mlp.rows, (mlp.width + count * (count + 1) // 2 + 1,)))


def add_fused_reshape_concat(g: Growing) -> None:
    x = g.pick(lambda t: slotted(t) and t.dims[0] > 1)
    if x is None:
        return
    if g.draw(st.booleans()):
        g.add("FusedReshapeConcatGeneral", [x], (x.rows * x.dims[0], (x.width,)))
    else:
        g.add("FusedReshapeConcat", [x], (x.rows * (x.dims[0] - 1), (x.width,)), (x.rows, (x.width,)))


def add_scale(g: Growing) -> None:
    x, factor = g.pick(flat), g.number(1, 3)
    axis = g.number(0, 1)
    shape = (x.rows, (x.width * factor,)) if axis == 0 else (x.rows * factor, x.dims)
    if shape[1][0] <= WIDEST:
        g.add("Scale", [x], shape, scale_param={"axis": axis, "factor": factor})


def add_columns_of_slots(g: Growing) -> None:
    """A stretch of an embedding's columns that nothing else reads: slots that need no look-up."""
    read = {name for layer in g.layers for name in np.atleast_1d(layer["bottom"]).tolist()}
    x = g.pick(lambda t: slotted(t) and t.name.startswith("emb") and t.name not in read)
    if x is not None:
        width = x.dims[0] * x.dims[1]
        start = g.number(0, width - 1)
        end = g.number(start + 1, width)
        g.add("Reshape", [x], (x.rows, (width,)), leading_dim=width, time_step=0)
        flattened = g.tensors.pop()
        g.add("Slice", [flattened], (x.rows, (end - start,)), ranges=[[start, end]])


def add_normalised_product(g: Growing) -> None:
    x, outputs = g.pick(flat), g.number(1, 6)
    g.add("InnerProduct", [x], (x.rows, (outputs,)), fc_param={"num_output": outputs})
    product = g.tensors.pop()
    g.add("BatchNorm", [product], (x.rows, (outputs,)), bn_param={"factor": 0.9, "eps": 1e-3})


GROWTH = [
    add_columns_of_slots,
    add_normalised_product,
    add_one_of("ReLU", "Sigmoid", "Softmax"),
    add_one_of("Dropout", rate=0.5),
    add_one_of("ELU", elu_param={"alpha": 0.5}),
    add_one_of("LayerNorm", ln_param={"eps": 0.1}),
    add_inner_product,
    add_fused_inner_product,
    add_mlp,
    add_batch_norm,
    add_multi_cross,
    add_concat,
    add_elementwise,
    add_slice,
    add_inserted_copies,
    add_reduction,
    add_flattening,
    add_selection,
    add_folding,
    add_unfolding,
    add_weight_multiply,
    add_fm,
    add_interaction,
    add_fused_reshape_concat,
    add_scale,
]
LOSSES = {1: "BinaryCrossEntropyLoss", 2: "CrossEntropyLoss"}


@st.composite
def graphs(draw: Callable[[Any], Any]) -> dict[str, Any]:
    """The parsed JSON of a model."""
    g = Growing(draw)
    width, losses = g.number(1, 6), g.number(0, 2)
    labels = [f"label{i}" for i in range(max(losses, 1))]
    dims = [g.number(1, 3) for _ in labels]
    g.tensors.append(Tensor("dense", Fraction(1), (width,)))
    sparse = [draw_embedding(g, i) for i in range(g.number(0, 2))]
    if sparse and draw(st.booleans()):
        add_columns_of_slots(g)
    for _ in range(g.number(1, 14)):
        draw(st.sampled_from(GROWTH))(g)
    label, dense = {"top": labels, "label_dim": dims}, {"top": "dense", "dense_dim": width}
    data = {"type": "Data", "label": label, "dense": dense, "sparse": sparse}
    if not any(layer["type"] == "InnerProduct" for layer in g.layers):
        add_inner_product(g)
    for label, dim in zip(labels[:losses], dims, strict=False):
        x = g.pick(lambda t: flat(t) and t.rows == 1)
        g.add("InnerProduct", [x], (x.rows, (dim,)), fc_param={"num_output": dim})
        top = g.tensors[-1].name
        type = draw(st.sampled_from(sorted({LOSSES.get(dim, "MultiCrossEntropyLoss"), "MultiCrossEntropyLoss"})))
        g.layers.append({"type": type, "bottom": [top, label], "top": f"loss_{label}"})
    return {"layers": [data, *g.layers]}


def draw_embedding(g: Growing, index: int) -> dict[str, Any]:
    slots, hotness, width = g.number(1, 4), g.number(1, 3), g.number(1, 4)
    clause = {
        "type": g.draw(st.sampled_from(["DistributedSlotSparseEmbeddingHash", "LocalizedSlotSparseEmbeddingHash"])),
        "bottom": f"keys{index}",
        "top": f"emb{index}",
        "sparse_embedding_hparam": {"embedding_vec_size": width, "combiner": g.draw(st.sampled_from(["sum", "mean"]))},
    }
    g.layers.append(clause)
    g.tensors.append(Tensor(f"emb{index}", Fraction(1), (slots, width)))
    return {"top": f"keys{index}", "slot_num": slots, "nnz_per_slot": [hotness] * slots, "is_fixed_length": False}


def imported(model: dict[str, Any], seed: int = 0) -> Graph:
    """The IR with random weights, all in memory."""
    random = np.random.default_rng(seed)
    clauses = graph_json.read(model, REGISTRY.keys())
    tables = {
        clause.top: SparseTable(
            None, random.permutation(3 * ROWS)[:ROWS], random.normal(0, 1, (ROWS, clause.vec_size)).astype(np.float32)
        )
        for clause in clauses.embeddings
    }
    sources = Sources(DenseRecorder(random), InventedStatistics(random), tables)
    return importer.build(clauses, sources, ImportOptions()).graph


Answers = list[tuple[dict[str, np.ndarray], dict[str, np.ndarray]]]


def answers(graph: Graph) -> Answers:
    """Feeds and what the graph makes of them. A pass may change which keys would be drawn, so they are kept."""
    batches = [smallest_batch(graph) * size for size in (1, 5)]
    return [(feeds, evaluate(graph, feeds)) for feeds in (feeds_for(graph, batch, 1) for batch in batches)]


def assert_same(graph: Graph, before: Answers, *, exact: bool) -> None:
    for feeds, expected in before:
        found = evaluate(graph, feeds)
        assert list(found) == list(expected)
        for name, array in found.items():
            if exact:
                np.testing.assert_array_equal(array, expected[name])
            else:
                np.testing.assert_allclose(array, expected[name], rtol=1e-5, atol=1e-5)


def interface(graph: Graph) -> tuple[object, ...]:
    return (*((v.node.name, v.type) for v in graph.inputs), *((name, v.type) for name, v in graph.outputs.items()))


@settings(BOUNDED, max_examples=100)
@given(graphs())
def test_what_fits_is_imported(model):
    graph = imported(model)
    verify(graph)
    losses = [layer for layer in model["layers"] if layer["type"].endswith("Loss")]
    if losses:
        assert list(graph.outputs) == [layer["bottom"][1] for layer in losses]
    for batch in (1, 5):
        for value, name in ((value, name) for name, value in graph.outputs.items()):
            size = batch * smallest_batch(graph)
            assert evaluate(graph, feeds_for(graph, size, 0))[name].shape == value.type.concrete(size)


@pytest.mark.parametrize("each", PASSES, ids=lambda each: each.__name__)
def test_every_pass_keeps_what_a_graph_computes(each):
    """On graphs as they are imported, and on those that the other passes have left."""

    @settings(BOUNDED, max_examples=30)
    @given(graphs(), st.booleans())
    def check(model, late):
        graph = imported(model)
        if late:
            passes.run(graph, 1)
        before, kept = answers(graph), interface(graph)
        each(graph)
        verify(graph)
        assert interface(graph) == kept
        assert_same(graph, before, exact=each in passes.PIPELINES[1])
        text = str(graph)
        assert not each(graph)
        assert str(graph) == text

    check()


@pytest.mark.parametrize("level", sorted(passes.PIPELINES))
def test_every_level_keeps_what_a_graph_computes_and_settles(level):
    @settings(BOUNDED, max_examples=100)
    @given(graphs())
    def check(model):
        graph = imported(model)
        before, kept = answers(graph), interface(graph)
        passes.run(graph, level, validate=True)
        verify(graph)
        assert interface(graph) == kept
        assert_same(graph, before, exact=level <= 1)
        text = str(graph)
        assert passes.run(graph, level) == ()
        assert str(graph) == text

    check()


@settings(BOUNDED, max_examples=50)
@given(graphs(), st.sampled_from(sorted(passes.PIPELINES)), st.sampled_from([17, 18, 21]))
def test_compile_proves_its_result(model, level, opset):
    """From files, through every stage, with onnxruntime at the end and translation validation between."""
    with tempfile.TemporaryDirectory() as folder:
        weights = generate_weights(model, Path(folder), rows=ROWS)
        compiled = hugectr2onnx.compile(model, weights, level, opset=opset, validate=True, simplify=False)
        assert compiled.report.parity is not None
        assert {output.name for output in compiled.report.parity.outputs} >= set(compiled.ir.outputs)
