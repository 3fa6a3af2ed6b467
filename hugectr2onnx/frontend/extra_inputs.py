"""What a caller says about a model beyond its files: shapes of further inputs, attributes of layers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from numbers import Integral

from hugectr2onnx.errors import GraphJsonError
from hugectr2onnx.frontend.graph_json.clauses import GraphClauses, LayerClause
from hugectr2onnx.frontend.graph_json.fields import shown
from hugectr2onnx.frontend.layers.layer import REGISTRY
from hugectr2onnx.frontend.layers.loss import Loss
from hugectr2onnx.frontend.suggestion import near_names, nearest
from hugectr2onnx.ir.types import Batch, Dim, N, elements

LARGEST_DIM = 1 << 31
MOST_ELEMENTS = 1 << 26
"""Numbers of one sample in one tensor: parity holds some of them in float64."""


def normalise_shape(name: str, shape: object) -> tuple[Dim, ...]:
    """A shape of `input_shapes` as dimensions: None, "N" and -1 stand for the batch. Raises GraphJsonError."""
    if hasattr(shape, "tolist"):
        shape = shape.tolist()
    if isinstance(shape, str | bytes) or not isinstance(shape, Sequence) or not shape:
        raise GraphJsonError(
            f"input_shapes[{ascii(name)[:60]}] must be a sequence such as ('N', 13), not {shown(shape)}"
        )
    dims = tuple(_dim(name, dim) for dim in shape)
    if sum(isinstance(dim, Batch) for dim in dims) > 1:
        raise GraphJsonError(f"input_shapes[{name!r}] has the batch twice")
    size = elements(dims)
    if (size.factor if isinstance(size, Batch) else size) > MOST_ELEMENTS:
        raise GraphJsonError(f"input_shapes[{name!r}] has more than {MOST_ELEMENTS} numbers a sample")
    return dims


def _dim(name: str, dim: object) -> Dim:
    if dim is None or (isinstance(dim, str) and dim == "N"):
        return N
    length = int(dim) if isinstance(dim, Integral) and not isinstance(dim, bool) else 0
    if length != -1 and not 0 < length < LARGEST_DIM:
        raise GraphJsonError(f"input_shapes[{name!r}] has {shown(dim)}: a dimension is a positive number, None or 'N'")
    return N if length == -1 else length


def extra_inputs(input_shapes: Mapping[str, Sequence[object]], clauses: GraphClauses) -> dict[str, tuple[Dim, ...]]:
    """The tensors of `input_shapes` that become inputs; labels do not, for only losses read them, nor what nothing reads.

    Raises GraphJsonError for a shape that is none, for a name that the graph has already, and for one that no layer
    reads where it is near the name of a tensor that could have been given and was not.
    """
    shapes = {name: normalise_shape(name, shape) for name, shape in input_shapes.items()}
    produced = _produced(clauses)
    for name in shapes:
        if name in produced:
            raise GraphJsonError(f"input_shapes names {name!r}, which the graph has already; leave it out")
    unread = set(unread_names(shapes, clauses))
    awaited = {name for name in _wanted(clauses) - produced - shapes.keys() if not is_label(name, clauses)}
    for name in unread:
        if near_names(name, awaited):
            raise GraphJsonError(f"input_shapes names {name!r}, which no layer reads ({nearest(name, awaited)})")
    return {name: shape for name, shape in shapes.items() if name not in unread and not is_label(name, clauses)}


def unread_names(names: Iterable[str], clauses: GraphClauses) -> list[str]:
    """The names that are no tensor of the graph; a caller who lists more than a model reads may ignore them."""
    known = _wanted(clauses) | _produced(clauses)
    return [name for name in names if name not in known]


def unread_warnings(input_shapes: Mapping[str, object], clauses: GraphClauses) -> Iterator[str]:
    """A sentence for each tensor of `input_shapes` that nothing reads."""
    for name in unread_names(input_shapes, clauses):
        yield f"input_shapes names {name!r}, which no layer reads: the model has no such input"


def _wanted(clauses: GraphClauses) -> set[str]:
    """What may be fed instead of being computed: bottoms, vectors of an embedding, labels."""
    wanted = {bottom for clause in clauses.layers for bottom in clause.bottoms}
    return wanted | {clause.top for clause in clauses.embeddings} | set(clauses.label_of)


def _produced(clauses: GraphClauses) -> set[str]:
    tops = {top for clause in clauses.layers for top in clause.tops} | {clauses.data.dense_top}
    return tops | {sparse.top for sparse in clauses.data.sparse}


def is_label(name: str, clauses: GraphClauses) -> bool:
    """Whether a name is a label of Data, or is read by losses only, as their second bottom."""
    uses = [(clause, place) for clause in clauses.layers for place, other in enumerate(clause.bottoms) if other == name]
    return name in clauses.label_of or (bool(uses) and all(is_loss(clause) and place == 1 for clause, place in uses))


def is_loss(clause: LayerClause) -> bool:
    return clause.type in REGISTRY and issubclass(REGISTRY[clause.type], Loss)


def plain_attributes(attributes: Mapping[str, object]) -> Mapping[str, object]:
    """`layer_attrs` as JSON would have them: lists for arrays, -1 for the batch in a shape."""
    if not isinstance(attributes, Mapping):
        raise GraphJsonError(
            f"layer_attrs must map a top to its attributes, such as {{'shape': [-1, 4]}}, not {shown(attributes)}"
        )
    if odd := [name for name in attributes if not isinstance(name, str)]:
        raise GraphJsonError(f"layer_attrs has {shown(odd[0])} for the name of an attribute")
    plain = {name: value.tolist() if hasattr(value, "tolist") else value for name, value in attributes.items()}
    shape = plain.get("shape")
    if isinstance(shape, list | tuple):
        plain["shape"] = [-1 if dim is None or (isinstance(dim, str) and dim == "N") else dim for dim in shape]
    return plain
