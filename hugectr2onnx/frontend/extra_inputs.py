"""Inputs that the graph JSON does not declare: the option `input_shapes` against the graph."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from hugectr2onnx.errors import OptionError
from hugectr2onnx.frontend.graph_json.clauses import GraphClauses, LayerClause
from hugectr2onnx.frontend.layers.layer import REGISTRY
from hugectr2onnx.frontend.layers.loss import Loss
from hugectr2onnx.frontend.suggestion import near_names, nearest
from hugectr2onnx.ir.types import Dim, N
from hugectr2onnx.options import Shapes


def dims_of(shape: Sequence[int | str | None]) -> tuple[Dim, ...]:
    """Return a shape of the option `input_shapes` as dimensions."""
    return tuple(dim if isinstance(dim, int) else N for dim in shape)


def extra_inputs(input_shapes: Shapes, clauses: GraphClauses) -> dict[str, tuple[Dim, ...]]:
    """Return the tensors of `input_shapes` that become inputs: not labels, which only losses read, nor what nothing reads.

    Raises OptionError for a shape that is none, for a name that the graph has already, and for one that no layer
    reads where it is near the name of a tensor that could have been given and was not.
    """
    shapes = {name: dims_of(shape) for name, shape in input_shapes.items()}
    produced = _produced(clauses)
    for name in shapes:
        if name in produced:
            raise OptionError(
                f"input_shapes names {name!r}, which the graph has already; leave it out", option="input_shapes"
            )
    unread = set(unread_names(shapes, clauses))
    awaited = {name for name in _wanted(clauses) - produced - shapes.keys() if not is_label(name, clauses)}
    for name in unread:
        if near_names(name, awaited):
            raise OptionError(
                f"input_shapes names {name!r}, which no layer reads ({nearest(name, awaited)})", option="input_shapes"
            )
    return {name: shape for name, shape in shapes.items() if name not in unread and not is_label(name, clauses)}


def unread_names(names: Iterable[str], clauses: GraphClauses) -> list[str]:
    """Return the names that are no tensor of the graph; a caller who lists more than a model reads may ignore them."""
    known = _wanted(clauses) | _produced(clauses)
    return [name for name in names if name not in known]


def unread_warnings(input_shapes: Mapping[str, object], clauses: GraphClauses) -> Iterator[str]:
    """Yield a sentence for each tensor of `input_shapes` that nothing reads."""
    for name in unread_names(input_shapes, clauses):
        yield f"input_shapes names {name!r}, which no layer reads: the model has no such input"


def _wanted(clauses: GraphClauses) -> set[str]:
    """Tell what may be fed instead of being computed: bottoms, vectors of an embedding, labels."""
    wanted = {bottom for clause in clauses.layers for bottom in clause.bottoms}
    return wanted | {clause.top for clause in clauses.embeddings} | set(clauses.label_of)


def _produced(clauses: GraphClauses) -> set[str]:
    tops = {top for clause in clauses.layers for top in clause.tops} | {clauses.data.dense_top}
    return tops | {sparse.top for sparse in clauses.data.sparse}


def is_label(name: str, clauses: GraphClauses) -> bool:
    """Tell whether a name is a label of Data, or is read by losses only, as their second bottom."""
    uses = [(clause, place) for clause in clauses.layers for place, other in enumerate(clause.bottoms) if other == name]
    return name in clauses.label_of or (bool(uses) and all(is_loss(clause) and place == 1 for clause, place in uses))


def is_loss(clause: LayerClause) -> bool:
    return clause.type in REGISTRY and issubclass(REGISTRY[clause.type], Loss)
