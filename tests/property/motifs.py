"""Small sub-structures with random parts: what the rules of the passes look for, and what just misses it.

A motif starts from any tensors that fit, so it lands on whatever has grown already; what grows afterwards may read any of
its tensors, which takes from some rules what they want to fold.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

from .attention_motifs import add_attention, add_attention_by_layers
from .growing import WIDEST, Growing, Tensor, divisors, flat, slotted
from .interest_motifs import (
    BINARY,
    add_attention_unit,
    add_product_of_target,
    add_repeats,
    add_repeats_of_both,
    add_two_targets,
    add_weighted_history,
)
from .layers import EPS, add_columns_of_slots, add_gather, add_gru, add_matrix_multiply, add_selection

Motif = Callable[[Growing], object]


def add_chain(g: Growing) -> None:
    """Linears in a row, with or without bias, constants between them and what may stand in the way."""
    x = g.pick(flat)
    for _ in range(g.number(2, 4)):
        between = g.one_of("none", "none", "BatchNorm", "WeightMultiply", "Dropout", "ReLU", "Sigmoid", "ELU")
        if between == "WeightMultiply":
            (x,) = g.add(between, [x], (x.rows, (2 * x.width,)), weight_dims=[x.width, 2])
        elif between != "none":
            params = {"BatchNorm": {"bn_param": {"factor": 0.9, "eps": 1e-3}}, "ELU": {"elu_param": {"alpha": 0.5}}}
            x = g.same(between, x, **params.get(between, {}))
        x = g.linear(x, g.number(1, 6))


def add_single_weight(g: Growing) -> None:
    """WeightMultiply of one feature by one number is a scale, wherever it stands among linears."""
    x = g.pick(flat)
    x = g.fc(g.reshape(x, x.rows, 1, x.width), 1)
    if g.chance():
        x = g.same("ReLU", x)
    column = g.reshape(x, x.rows, 1)
    (weighted,) = g.add("WeightMultiply", [column], (x.rows, (1,)), weight_dims=[1, 1])
    g.fc(g.reshape(weighted, x.rows, 1, 1), g.number(1, 3))


def add_activations(g: Growing) -> None:
    """A linear whose activation comes twice, or whose top has other readers."""
    x = g.linear(g.pick(flat), g.number(1, 5))
    for _ in range(g.number(1, 3)):
        x = g.same(g.one_of("ReLU", "ReLU", "Sigmoid", "Softmax"), x)
    if g.chance():
        g.same("Add", x, x)


def add_dice_tower(g: Growing) -> None:
    x = g.pick(flat)
    for _ in range(g.number(1, 3)):
        x = _dice(g, g.linear(x, g.number(1, 5)))
    if g.chance():
        g.linear(x, g.number(1, 3))


def _dice(g: Growing, x: Tensor) -> Tensor:
    frozen = {"mean": [0.1 * i for i in range(x.width)], "var": [0.5 + i for i in range(x.width)]}
    params = {"alpha": g.one_of(0.2, 0.0, 0.9995, 1.0), "eps": EPS}
    return g.same("PReLU_Dice", x, prelu_dice_param=params, attrs=frozen if g.chance() else None)


def add_residual(g: Growing) -> None:
    """f(x) and x, which meet as matrices or as slots."""
    x = g.slots(g.number(1, 3), g.number(2, 4)) if g.one_of(True, True, False) else g.pick(flat)
    for type in g.some_of(*BINARY):
        y = g.linear(x, x.width)
        if g.chance():
            y = g.same("ReLU", y) if g.chance() else g.linear(y, x.width)
        total = g.same(type, *g.shuffled(x, y))
        if g.chance():
            g.linear(g.same("LayerNorm", total, ln_param={"eps": EPS}), g.number(1, 4))


def add_crosses(g: Growing) -> None:
    """A cross network, alone or beside other columns, and what reads it: often a product with few columns."""
    x, rank = g.pick(flat), g.number(0, 2)
    attrs = {"projection_dim": rank} if rank else None
    crossed = g.same("MultiCross", x, mc_param={"num_layers": g.number(1, 4)}, attrs=attrs)
    if g.chance():
        g.linear(crossed, g.one_of(1, 2))
    else:
        g.linear(g.join(g.shuffled(crossed, g.fc(x, g.number(4, 12)))), g.one_of(1, 5))


def add_deep_fm(g: Growing) -> None:
    """The middle of DeepFM: a linear part, a factorization machine and a perceptron on the same columns."""
    length, features = g.number(1, 3), g.matrix()
    if features.width * length > WIDEST:
        features = g.fc(features, 4)
    slots = g.slots(g.number(1, 4), length + 1)
    count = slots.dims[0]
    rows = g.reshape(slots, slots.rows * count, length + 1)
    vectors, weights = g.cut(rows, (0, length), (length, length + 1))
    plain = g.reshape(vectors, Fraction(1), count * length)
    linear = g.reshape(weights, Fraction(1), count)
    multiplied = _weight_multiply(g, features, length)
    columns = g.join(g.shuffled(plain, multiplied)) if g.chance() else multiplied
    (machine,) = g.add("FmOrder2", [columns], (columns.rows, (length,)), out_dim=length)
    deep = g.linear(columns, g.one_of(1, 4, 16))
    if g.chance():
        deep = g.linear(g.same("ReLU", deep), 1)
    terms = [g.reduce(machine, 1), g.reduce(g.join([linear, _weight_multiply(g, features, 1)]), 1)]
    g.same("Add", *g.shuffled(*terms, *([deep] if deep.width == 1 else [])))


def _weight_multiply(g: Growing, x: Tensor, length: int) -> Tensor:
    (top,) = g.add("WeightMultiply", [x], (x.rows, (x.width * length,)), weight_dims=[x.width, length])
    return top


def add_weighted_columns(g: Growing) -> None:
    """WeightMultiply, alone or beside other columns, and one reader or more."""
    x = g.pick(flat)
    columns = _weight_multiply(g, x if x.width <= 16 else g.fc(x, 4), g.number(1, 3))
    if g.chance():
        columns = g.join(g.shuffled(columns, g.fc(x, g.number(1, 4))))
    for reader in g.some_of("linear", "sum", "machine", "ReLU"):
        if reader == "linear":
            g.linear(columns, g.one_of(1, 3, 16))
        elif reader == "sum":
            g.reduce(columns, 1)
        elif reader == "machine":
            length = g.one_of(*divisors(columns.width))
            (machine,) = g.add("FmOrder2", [columns], (columns.rows, (length,)), out_dim=length)
            g.reduce(machine, 1, g.one_of("ReduceSum", "ReduceMean"))
        else:
            g.same("ReLU", columns)


def add_interactions(g: Growing) -> None:
    slots = g.pick(slotted) if g.chance() else None
    slots = slots or g.slots(g.number(1, 7), g.number(1, 4))
    if slots.rows != 1:
        return
    mlp, count = g.fc(g.matrix(), slots.width), slots.dims[0]
    shape = (slots.rows, (mlp.width + count * (count + 1) // 2 + 1,))
    (pairs,) = g.add("Interaction", [mlp, slots], shape)
    for _ in range(g.number(1, 2)):
        g.linear(pairs, g.number(1, 4))


def add_mixture_of_experts(g: Growing) -> None:
    """MMoE of a few experts, with one gate or two."""
    _experts(g, g.number(1, 3), g.number(1, 2))


def add_many_gates(g: Growing) -> None:
    """MMoE of many tasks: enough products for one batched product to be faster."""
    _experts(g, g.number(2, 4), g.number(4, 6))


def _experts(g: Growing, count: int, tasks: int) -> None:
    """Each task weighs the experts by a Softmax gate of its own."""
    x, width = g.matrix(), g.one_of(4, 8)
    x = g.same("ReLU", g.fc(x, WIDEST)) if g.chance() else x
    experts = [g.same("ReLU", g.fc(x, width)) for _ in range(count)]
    for _ in range(tasks):
        gate = g.same("Softmax", g.fc(x, count))
        weights = g.cut(gate, *((i, i + 1) for i in range(count)))
        gated = [
            g.same("ElementwiseMultiply", *g.shuffled(expert, g.repeat(weight, 0, width)))
            for expert, weight in zip(experts, weights, strict=True)
        ]
        mixed = g.same("Add", *gated) if count > 1 else gated[0]
        g.linear(mixed, g.number(1, 2))


def add_gated(g: Growing) -> None:
    """Columns times one number a row, which a product with few columns multiplies last."""
    x = g.pick(flat)
    wide = g.same(g.one_of("ReLU", "Sigmoid"), g.fc(x, 8))
    gated = g.same("ElementwiseMultiply", *g.shuffled(wide, g.repeat(g.linear(x, 1), 0, 8)))
    (g.product if g.chance() else g.fc)(gated, g.one_of(1, 2, 3))


def add_readers(g: Growing) -> None:
    """Products with few columns of one long operand."""
    x = g.matrix()
    wide = g.same("ReLU", g.fc(x, WIDEST))
    products = [g.linear(wide, g.number(1, 9)) for _ in range(g.number(2, 4))]
    for product in products:
        if g.chance():
            g.same(g.one_of("Softmax", "Sigmoid"), product)


def add_columns(g: Growing) -> None:
    """One number a sample from a long layer, and what it meets: other such numbers, sums, crosses of a few."""
    _columns_of(g, g.matrix())


def _columns_of(g: Growing, x: Tensor) -> None:
    column = g.linear(g.same("ReLU", g.fc(x, g.one_of(480, 960))), 1)
    for type in g.some_of("Add", "ElementwiseMultiply", "ReLU"):
        other = g.reduce(x, 1) if g.chance() else g.linear(x, 1)
        column = g.same(type, column) if type == "ReLU" else g.same(type, *g.shuffled(column, other))
    if g.chance():
        crossed = g.same("MultiCross", x, mc_param={"num_layers": g.number(2, 5)})
        column = g.same("Add", column, g.linear(crossed, 1))
    g.same("Sigmoid", column)


def add_merged_samples(g: Growing) -> None:
    """Rows of two samples each, as many as half a batch; their columns, or a normalization beside them."""
    x = g.matrix()
    x = x if 2 * x.width <= WIDEST else g.fc(x, 4)
    merged = g.reshape(x, x.rows / 2, 2 * x.width)
    if g.chance():
        _columns_of(g, merged)
        return
    normal = g.same("LayerNorm", g.linear(merged, g.number(2, 4)), ln_param={"eps": EPS})
    g.linear(g.join(g.shuffled(merged, normal)), g.number(1, 3))


def add_pieces(g: Growing) -> None:
    """Pieces that together are all of a tensor, or nearly, and a Softmax of each."""
    x, length = g.pick(), g.number(1, 3)
    whole = g.fc(x, 2 * length)
    pieces = g.cut(whole, (0, length), (length, 2 * length - g.one_of(0, 0, int(length > 1))))
    for piece in pieces:
        softmax = g.same("Softmax", piece)
        if softmax.width > 1 and g.chance():
            g.cut(softmax, (0, 1), (1, softmax.width))


def add_joined_product(g: Growing) -> None:
    """A product of joined columns, beside a sum that it is added to."""
    x = g.pick(flat)
    parts = [g.same("ReLU", g.fc(x, g.number(3, 6))) for _ in range(g.number(2, 4))]
    outputs = g.one_of(1, 1, 2, 4)
    y = g.linear(g.join(parts), outputs)
    if g.chance():
        g.same("Add", *g.shuffled(y, g.same("ReLU", g.fc(x, outputs))))


def add_moves(g: Growing) -> None:
    """Concat and Slice in all orders."""
    x, y = g.fc(g.matrix(), g.number(2, 5)), g.matrix()
    middle = g.number(1, x.width - 1)
    left, right = g.cut(x, (0, middle), (middle, x.width))
    orders = [left, right], [left, right, y], [right, left], [y, left]
    joined = g.join([g.join([y, left]), x] if g.chance() else g.one_of(*orders))
    start = g.number(0, joined.width - 1)
    (piece,) = g.cut(joined, (start, g.number(start + 1, joined.width)))
    if g.chance():
        g.cut(piece, (0, g.number(1, piece.width)))
    if g.chance():
        g.cut(joined, (0, 1), (joined.width - 1, joined.width))


def add_reshapes(g: Growing) -> None:
    """Slots taken apart for something that works element by element, and put together again."""
    x = g.slots(g.number(1, 3), g.number(1, 3))
    count, width = x.dims
    apart = g.reshape(x, x.rows * count, width)
    if width > 1 and g.chance():
        (cut,) = g.cut(apart, (0, width - 1))
        g.reshape(cut, x.rows, count * (width - 1))
    y = g.same("Add", apart, g.reshape(g.slots(count, width), x.rows * count, width)) if g.chance() else apart
    g.reshape(g.same(g.one_of("ReLU", "Sigmoid"), y), x.rows, count, width)


MOTIFS: dict[str, Motif] = {
    each.__name__.removeprefix("add_"): each
    for each in (
        add_attention,
        add_attention_by_layers,
        add_attention_unit,
        add_weighted_history,
        add_two_targets,
        add_product_of_target,
        add_repeats,
        add_repeats_of_both,
        add_chain,
        add_single_weight,
        add_activations,
        add_dice_tower,
        add_residual,
        add_crosses,
        add_deep_fm,
        add_weighted_columns,
        add_interactions,
        add_mixture_of_experts,
        add_many_gates,
        add_gated,
        add_readers,
        add_columns,
        add_merged_samples,
        add_pieces,
        add_joined_product,
        add_moves,
        add_reshapes,
        add_selection,
        add_columns_of_slots,
        add_matrix_multiply,
        add_gru,
        add_gather,
    )
}
