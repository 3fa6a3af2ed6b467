"""What DIN does with a history: repeat the target for each of its items, score the pairs, and weigh the items."""

from __future__ import annotations

from .growing import Growing, Tensor, flat

BINARY = ("Add", "Sub", "ElementwiseMultiply")


def add_attention_unit(g: Growing) -> None:
    """[target, item, target - item, target * item] or some of it -> a score an item -> a Softmax -> the weighted history."""
    items, target, count = _history(g, g.one_of(4, 5, 2), g.one_of(8, 8, 2))
    repeated = g.repeat(target, 1, count)
    parts = [repeated]
    for kind in g.some_of("items", "Sub", "ElementwiseMultiply"):
        parts.append(items if kind == "items" else g.same(kind, *g.shuffled(repeated, items)))
    score = g.linear(g.join(g.shuffled(*parts)), g.one_of(1, 1, 3))
    if score.width > 1:
        score = g.linear(g.same("ReLU", score) if g.chance() else score, 1)
    weights = g.same("Softmax", g.reshape(score, target.rows, count))
    _weigh(g, weights, items, count)


def add_weighted_history(g: Growing) -> None:
    """DIN as NVIDIA's sample has it: the score of each item, the history that it weighs, and the history's mean."""
    items, target, count = _history(g, g.one_of(4, 5, 2), g.one_of(8, 8, 2))
    repeated = g.repeat(target, 1, count)
    score = g.linear(g.join([repeated, items, g.same("ElementwiseMultiply", repeated, items)]), 1)
    weights = g.same("Softmax", g.reshape(score, target.rows, count))
    history = g.reshape(items, weights.rows, count * items.width)
    weighted = g.same("ElementwiseMultiply", g.repeat(weights, 0, items.width), history)
    for whole, type in ((weighted, "ReduceSum"), (history, "ReduceMean")):
        reduced = g.reduce(g.reshape(whole, weights.rows, count, items.width), 1, type)
        g.reshape(reduced, weights.rows, items.width)


def add_two_targets(g: Growing) -> None:
    """One score of an item from a target, and from the item times another target that a linear makes."""
    items, target, count = _history(g, g.one_of(4, 5, 2), g.one_of(8, 8, 2))
    _score(g, items, target, g.linear(g.matrix(), items.width), count)


def add_product_of_target(g: Growing) -> None:
    """The same, whose other target is a product without bias of the first: a score scales its weights."""
    items, target, count = _history(g, 4, 8)
    _score(g, items, target, g.product(target, items.width), count)


def _score(g: Growing, items: Tensor, target: Tensor, other: Tensor, count: int) -> None:
    repeated = g.repeat(other, 1, count)
    parts = [g.repeat(target, 1, count), g.same("ElementwiseMultiply", *g.shuffled(repeated, items))]
    g.linear(g.join(g.shuffled(*parts, *([items] if g.one_of(True, True, False) else []))), 1)


def _history(g: Growing, count: int, width: int) -> tuple[Tensor, Tensor, int]:
    """The items of a history, its target, and how many items each has."""
    slots = g.slots(count + 1, width)
    shapes = (slots.rows * count, (width,)), (slots.rows, (width,))
    items, target = g.add("FusedReshapeConcat", [slots], *shapes)
    return items, target, count


def _weigh(g: Growing, weights: Tensor, items: Tensor, count: int) -> None:
    """By item and column as NVIDIA's sample does, which sums both, or by column only."""
    width = items.width
    spread = g.repeat(weights, 0, width)
    history = g.reshape(items, weights.rows, count * width)
    weighted = g.same("ElementwiseMultiply", *g.shuffled(spread, history))
    if g.chance():
        g.reduce(g.reshape(weighted, weights.rows, count, width), g.one_of(1, 1, 1, 2))
    else:
        g.reduce(weighted, 1)


def add_repeats(g: Growing) -> None:
    """Repeated columns or rows that meet others."""
    axis, factor, width = g.number(0, 1), g.one_of(8, 8, 2), g.one_of(1, 2)
    x = g.linear(g.pick(flat), width)
    for type in g.some_of(*BINARY):
        other = g.fc(x, width * factor)
        if axis == 1:
            other = g.reshape(other, x.rows * factor, width)
        g.same(type, *g.shuffled(g.repeat(x, axis, factor), other))


def add_repeats_of_both(g: Growing) -> None:
    """Two that are repeated alike, and what reads repeated columns."""
    axis, factor, x = g.number(0, 1), g.number(2, 4), g.pick(flat)
    width = g.number(1, 3)
    for type in g.some_of(*BINARY):
        g.same(type, *(g.repeat(g.linear(x, width), axis, factor) for _ in range(2)))
    repeated = g.repeat(x, 1, factor)
    for piece in g.cut(repeated, (0, g.number(1, x.width)), (0, x.width)):
        g.linear(piece, g.number(1, 3))
