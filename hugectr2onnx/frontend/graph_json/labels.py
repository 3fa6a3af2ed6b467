"""Labels in their three multi-label forms, and the layers that split, copy or pass them on (formats 1.3 and 1.6).

What happens to a label matters in training only (layers 4), so these layers become names: a Cast or a Reshape gives
the label another one, a range of a Slice that covers the whole label is a copy of it, and any other is a label of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hugectr2onnx.errors import GraphJsonError
from hugectr2onnx.frontend.graph_json.clauses import Label, LayerClause
from hugectr2onnx.frontend.graph_json.fields import Fields

COMBINED = "combined_multi_label"
PASSING_ON = ("Cast", "Reshape")


class LabelTable:
    """The labels in order, every name that denotes one, and the layers that are left."""

    def __init__(self, declared: Sequence[Label], layers: Iterable[LayerClause]) -> None:
        layers = tuple(layers)
        self.labels = list(_with_undeclared_combined(declared, layers))
        self.label_of = {label.name: label.name for label in self.labels}
        consumed = {name for x in layers if x.type not in ("Slice", *PASSING_ON) for name in x.bottoms}
        self.layers: tuple[LayerClause, ...] = tuple(layer for layer in layers if not self._absorb(layer, consumed))
        _check_declared_are_known(declared, self.label_of)

    def _absorb(self, layer: LayerClause, consumed: set[str]) -> bool:
        """Turns a layer that reads a label only into names; False for any other layer."""
        if len(layer.bottoms) != 1 or layer.bottoms[0] not in self.label_of:
            return False
        name = self.label_of[layer.bottoms[0]]
        if layer.type in PASSING_ON and len(layer.tops) == 1:
            self._name(layer.tops, name, layer)
            return True
        if layer.type != "Slice":
            return False
        label = next(label for label in self.labels if label.name == name)
        spans = _pieces(layer, label)
        pieces = [piece for piece in spans if piece is not None]
        copies = [top for top, piece in zip(layer.tops, spans, strict=True) if piece is None]
        self._name(copies, label.name, layer)
        for piece in pieces:
            self._name([piece.name], piece.name, layer)
        at = self.labels.index(label) + 1
        self.labels[at:at] = pieces
        if pieces and not copies and name not in consumed:
            self.labels.remove(label)
        return True

    def _name(self, tops: Iterable[str], label: str, layer: LayerClause) -> None:
        for top in tops:
            if top in self.label_of:
                raise GraphJsonError(f'{layer.where}: "{top}" is produced twice; tensor names are unique')
            self.label_of[top] = label


def _with_undeclared_combined(declared: Sequence[Label], layers: Sequence[LayerClause]) -> tuple[Label, ...]:
    """v3.5 to v3.8 declare the first label only, and slice a combined label that no layer produces."""
    if any(label.name == COMBINED for label in declared) or any(COMBINED in layer.tops for layer in layers):
        return tuple(declared)
    for layer in layers:
        if layer.type == "Slice" and layer.bottoms == (COMBINED,):
            ends = [end for _, end in Fields(layer.params, layer.where).ranges("ranges")]
            return (Label(COMBINED, max(ends, default=1)),)
    return tuple(declared)


def _check_declared_are_known(declared: Sequence[Label], label_of: dict[str, str]) -> None:
    for label in declared:
        if label.name not in label_of:
            raise GraphJsonError(f'the label "{label.name}" of the Data layer is no top of the Slice of {COMBINED}')


def _pieces(layer: LayerClause, label: Label) -> list[Label | None]:
    """Tell what each top of the Slice is: a label of its own, or None for a copy of the whole."""
    ranges = Fields(layer.params, layer.where).ranges("ranges")
    if len(ranges) != len(layer.tops):
        raise GraphJsonError(f"{layer.where}: {len(ranges)} ranges for {len(layer.tops)} tops")
    if any(end > label.dim for _, end in ranges):
        raise GraphJsonError(f'{layer.where}: a range ends beyond the {label.dim} columns of the label "{label.name}"')
    whole = (0, label.dim) if label.name != COMBINED else None
    return [
        None if span == whole else Label(top, span[1] - span[0]) for top, span in zip(layer.tops, ranges, strict=True)
    ]
