"""The outputs of a model: a prediction for each label, or the tops that nothing consumes."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from hugectr2onnx.errors import GraphJsonError, OptionError, ShapeError
from hugectr2onnx.frontend.graph_json.clauses import GraphClauses, LayerClause
from hugectr2onnx.frontend.suggestion import nearest
from hugectr2onnx.ir.graph import Graph, Value
from hugectr2onnx.ir.ops.structural import Input
from hugectr2onnx.ir.types import Batch, N


def predictions(losses: Sequence[tuple[LayerClause, Value]], clauses: GraphClauses, graph: Graph) -> dict[str, Value]:
    """Return the prediction of each loss, named after its label and in label order.

    Losses that share a label are named after their copies of it, or else after their own tops. Raises ShapeError for a
    prediction that has not one row a sample.
    """
    order = {label.name: place for place, label in enumerate(clauses.data.labels)}
    labels = [clauses.label_of.get(_label(clause), _label(clause)) for clause, _ in losses]
    names = labels
    for candidates in (labels, [_label(clause) for clause, _ in losses], [_top(clause) for clause, _ in losses]):
        names = candidates
        if len(set(names)) == len(names):
            break
    else:
        raise GraphJsonError(
            "several losses share their label and their name, so their predictions cannot be told apart"
        )
    inputs = {value.node.name for value in graph.inputs}
    for name in names:
        if name in inputs:
            raise GraphJsonError(
                f"a loss has the input {name!r} for its label, and its prediction would have that name too"
            )
    places = sorted(range(len(names)), key=lambda i: order.get(labels[i], len(order)))
    for place in places:
        _require_rows(names[place], losses[place][1])
    return {names[place]: losses[place][1] for place in places}


def free_tops(values: Mapping[str, Value], consumed: Collection[str]) -> dict[str, Value]:
    """Return the tops that nothing consumes, inputs apart. Raises GraphJsonError where there are none."""
    free = {top: v for top, v in values.items() if top not in consumed and not isinstance(v.op, Input)}
    if not free:
        raise GraphJsonError("the graph has no layers after its inputs, so there is nothing to compute")
    return free


def named(names: Sequence[str], usual: Mapping[str, Value], values: Mapping[str, Value]) -> dict[str, Value]:
    """Return the tensors of these names: `usual` outputs first, then any tensor of the graph.

    Raises OptionError for a name that no tensor has, for an input, and for a tensor that has not one row a sample.
    """
    found = {}
    for name in names:
        value = usual.get(name, values.get(name))
        if value is None:
            near = nearest(name, [*usual, *values])
            raise OptionError(
                f"outputs names {name[:60]!r}, which is not a tensor of the graph ({near})", option="outputs"
            )
        if isinstance(value.op, Input):
            raise OptionError(f"outputs names {name!r}, which is an input", option="outputs")
        rows = value.type.shape[0] if value.type.shape else 1
        if rows != N:
            raise OptionError(f"outputs names {name!r}, which has {rows} rows for N samples", option="outputs")
        found[name] = value
    return found


def _label(clause: LayerClause) -> str:
    return clause.bottoms[1] if len(clause.bottoms) > 1 else _top(clause)


def _top(clause: LayerClause) -> str:
    return clause.tops[0] if clause.tops else clause.type


def _require_rows(label: str, prediction: Value) -> None:
    rows = prediction.type.shape[0]
    if isinstance(rows, Batch) and rows != N:
        raise ShapeError(
            f"the prediction of {label!r} has {rows} rows for N samples: a Reshape before it splits or merges samples; "
            "check leading_dim against the width of what it reshapes"
        )
