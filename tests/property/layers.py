"""Single layers that can be added to a graph: the noise around the motifs."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import numpy as np
from hypothesis import strategies as st

from .growing import WIDEST, Growing, Tensor, divisors, flat, slotted, with_heads

Growth = Callable[[Growing], object]
EPS = 0.1
"""Of normalizations: a smaller one divides by next to nothing where a row, or a batch of few rows, hardly varies."""


def add_one_of(*types: str, **params: object) -> Growth:
    """Layers that keep the shape of any bottom."""

    def grow(g: Growing) -> None:
        g.same(g.one_of(*types), g.pick(lambda tensor: True), **params)

    return grow


def add_inner_product(g: Growing) -> None:
    g.fc(g.pick(), g.number(1, 6))


def add_fused_inner_product(g: Growing) -> None:
    x, outputs = g.pick(flat), g.number(1, 6)
    params = {"fc_param": {"num_output": outputs}, "position": "Tail", "activation": g.one_of("Relu", "None")}
    g.add("FusedInnerProduct", [x], (x.rows, (outputs,)), **params)


def add_mlp(g: Growing) -> None:
    x, outputs = g.pick(flat), g.draw(st.lists(st.integers(1, 6), min_size=1, max_size=3))
    biases = [g.chance() for _ in outputs]
    activations = [g.one_of("Relu", "None") for _ in outputs]
    params = {"num_outputs": outputs, "activations": activations, "biases": biases}
    g.add("MLP", [x], (x.rows, (outputs[-1],)), mlp_param=params)


def add_batch_norm(g: Growing) -> None:
    g.same("BatchNorm", g.pick(flat), bn_param={"factor": 0.9, "eps": 1e-3})


def add_dice(g: Growing) -> None:
    """With the statistics of the batch, or frozen ones."""
    x = g.pick(flat)
    attrs = (
        {"mean": [0.1 * i for i in range(x.width)], "var": [0.5 + i for i in range(x.width)]} if g.chance() else None
    )
    g.same("PReLU_Dice", x, prelu_dice_param={"alpha": g.one_of(0.2, 0.0, 1.0, 0.9995), "eps": EPS}, attrs=attrs)


def add_multi_cross(g: Growing) -> None:
    """DCN's, or that of DCN v2, whose rank graph_to_json loses."""
    rank = g.number(0, 3)
    attrs = {"projection_dim": rank} if rank else None
    g.same("MultiCross", g.pick(flat), mc_param={"num_layers": g.number(1, 3)}, attrs=attrs)


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
    first = g.pick(lambda tensor: True)
    type = g.one_of("Add", "Sub", "ElementwiseMultiply", "DotProduct")
    count = 1 if type == "Sub" else g.number(1, 2)
    others = [g.pick(lambda t: (t.rows, t.dims) == (first.rows, first.dims)) for _ in range(count)]
    g.same(type, first, *others)


def add_slice(g: Growing) -> None:
    x = g.pick()
    cuts = [sorted((g.number(0, x.width - 1), g.number(1, x.width))) for _ in range(g.number(1, 3))]
    starts, ends = (sorted(each) for each in zip(*[(a, max(b, a + 1)) for a, b in cuts], strict=True))
    g.cut(x, *zip(starts, ends, strict=True))


def add_inserted_copies(g: Growing) -> None:
    """What HugeCTR inserts where a tensor has several readers (layers 1.3)."""
    taken = {tensor.name for tensor in g.tensors}
    x = g.pick(lambda t: len(t.dims) < 3 and t.name + "_slice0" not in taken)
    if x is not None:
        tops = [f"{x.name}_slice{i}" for i in range(g.number(2, 3))]
        g.add("Slice", [x], *((x.rows, x.dims) for _ in tops), tops=tops, ranges=[[0, x.width] for _ in tops])


def add_reduction(g: Growing) -> None:
    x = g.pick()
    g.reduce(x, g.number(1, len(x.dims)), g.one_of("ReduceSum", "ReduceMean"))


def add_flattening(g: Growing) -> None:
    x = g.pick(slotted)
    width = x.dims[0] * x.dims[1] if x else 0
    if x and width <= WIDEST:
        g.reshape(x, x.rows, width)


def add_selection(g: Growing) -> None:
    """Slots by number, or positions along any dimension, which graph_to_json loses."""
    x = g.pick()
    if slotted(x) and g.chance():
        slots = g.draw(st.lists(st.integers(0, x.dims[0] - 1), min_size=1, max_size=3))
        g.add("Reshape", [x], (x.rows, (len(slots) * x.width,)), selected=slots)
        return
    dim = g.number(1, len(x.dims))
    length = x.dims[dim - 1]
    index = list(range(length)) if g.chance() else g.draw(st.lists(st.integers(0, length - 1), min_size=1, max_size=3))
    dims = tuple(len(index) if place == dim else each for place, each in enumerate(x.dims, start=1))
    g.add("Select", [x], (x.rows, dims), attrs={"dim": dim, "index": index})


def add_folding(g: Growing) -> None:
    """A Reshape that makes rows of parts of a sample, or slots of columns."""
    x = g.pick(flat)
    part = g.one_of(*divisors(x.width))
    if g.chance():
        g.reshape(x, x.rows * (x.width // part), part)
    else:
        g.reshape(x, x.rows, x.width // part, part)


def add_shaping(g: Growing) -> None:
    """A Reshape by `shape`, which graph_to_json loses, to what any rank may be."""
    x = g.pick(flat)
    first = g.one_of(*divisors(x.width))
    second = g.one_of(*divisors(x.width // first))
    dims = g.one_of((x.width,), (first, x.width // first), (first, second, x.width // first // second))
    attrs = {"shape": [-1, *dims]}
    g.add("Reshape", [x], (x.rows, dims), attrs=attrs, leading_dim=0, time_step=0)


def add_merging(g: Growing) -> None:
    """A Reshape that makes one row of two: where rows are samples, half as many as there are in the batch."""
    x = g.pick(lambda t: flat(t) and t.rows.denominator == 1 and 2 * t.width <= WIDEST)
    if x is not None:
        g.reshape(x, x.rows / 2, 2 * x.width)


def add_unfolding(g: Growing) -> None:
    x = g.pick(lambda t: flat(t) and t.rows != 1 and t.rows * t.width <= WIDEST and (t.rows * t.width).denominator == 1)
    if x is not None:
        g.reshape(x, Fraction(1), int(x.rows * x.width))


def add_weight_multiply(g: Growing) -> None:
    x, length = g.pick(flat), g.number(1, 3)
    if x.width * length <= WIDEST:
        type = g.one_of("WeightMultiply", "Multiply")
        g.add(type, [x], (x.rows, (x.width * length,)), weight_dims=[x.width, length])


def add_fm(g: Growing) -> None:
    x = g.pick(flat)
    length = g.one_of(*divisors(x.width))
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
    if g.chance():
        g.add("FusedReshapeConcatGeneral", [x], (x.rows * x.dims[0], (x.width,)))
    else:
        g.add("FusedReshapeConcat", [x], (x.rows * (x.dims[0] - 1), (x.width,)), (x.rows, (x.width,)))


def add_scale(g: Growing) -> None:
    x, factor, axis = g.pick(flat), g.number(1, 3), g.number(0, 1)
    if axis == 1 or x.width * factor <= WIDEST:
        g.repeat(x, axis, factor)


def add_columns_of_slots(g: Growing) -> None:
    """A stretch of an embedding's columns that nothing else reads: slots that need no look-up."""
    read = {name for layer in g.layers for name in np.atleast_1d(layer["bottom"]).tolist()}
    x = g.pick(lambda t: slotted(t) and t.name.startswith("emb") and t.name not in read)
    if x is not None:
        width = x.dims[0] * x.dims[1]
        start = g.number(0, width - 1)
        flattened = g.reshape(x, x.rows, width)
        g.tensors.remove(flattened)
        g.cut(flattened, (start, g.number(start + 1, width)))


def add_normalised_product(g: Growing) -> None:
    product = g.linear(g.pick(flat), g.number(1, 6))
    g.tensors.remove(product)
    g.same("BatchNorm", product, bn_param={"factor": 0.9, "eps": 1e-3})


def add_matrix_multiply(g: Growing) -> None:
    """[N, s, s] times [N, s, w], or the same of attention heads."""
    x = g.pick(slotted)
    if x is not None:
        g.add("MatrixMultiply", [g.fc(x, x.dims[0]), x], (x.rows, x.dims))
    heads = g.pick(lambda t: with_heads(t) and t.dims[1] == t.dims[2])
    if heads is not None:
        g.same("MatrixMultiply", heads, heads)


def add_gru(g: Growing) -> None:
    x, outputs, steps = g.pick(flat), g.number(1, 3), g.number(1, 3)
    params = {"num_output": outputs, "batchsize": 2, "SeqLength": steps, "vector_size": g.one_of(*divisors(x.width))}
    g.add("GRU", [x], (x.rows, (outputs,)), gru_param=params)


def add_gather(g: Growing) -> None:
    """Some rows of the batch. What they become is never a bottom again: its rows do not depend on the batch."""
    x = g.pick(flat)
    (rows,) = g.add(
        "Gather", [x], (x.rows, x.dims), indices=g.draw(st.lists(st.integers(0, 3), min_size=1, max_size=3))
    )
    used = [rows, g.fc(rows, g.number(1, 4))]
    used.append(g.same(g.one_of("ReLU", "Softmax", "Sigmoid"), used[-1]))
    for tensor in used:
        g.tensors.remove(tensor)


GROWTH: list[Growth] = [
    add_columns_of_slots,
    add_normalised_product,
    add_one_of("ReLU", "Sigmoid", "Softmax"),
    add_one_of("Dropout", rate=0.5),
    add_one_of("Cast"),
    add_one_of("ELU", elu_param={"alpha": 0.5}),
    add_one_of("LayerNorm", ln_param={"eps": EPS}),
    add_dice,
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
    add_shaping,
    add_merging,
    add_unfolding,
    add_weight_multiply,
    add_fm,
    add_interaction,
    add_fused_reshape_concat,
    add_scale,
    add_matrix_multiply,
    add_gru,
    add_gather,
]
