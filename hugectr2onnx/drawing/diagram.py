"""A drawing before anything knows where on the page it goes: boxes, edges, and groups of boxes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Kind = Literal[
    "interface", "table", "look-up", "product", "crossing", "sequence", "element", "reduction", "move", "other"
]

DRAWING_MARK = "drawn by hugectr2onnx"
"""Stands in every file that `draw` writes, so that it may be replaced without being asked twice."""
BOX_KINDS: dict[Kind, tuple[str, str]] = {
    "interface": ("input or output", "#d9d9d9"),
    "table": ("embedding table", "#fdd9a0"),
    "look-up": ("look-up and pooling", "#fbb4ae"),
    "product": ("product with weights", "#a6cee3"),
    "crossing": ("feature crossing", "#cab2d6"),
    "sequence": ("attention or recurrence", "#fccde5"),
    "element": ("element by element, or normalization", "#b2df8a"),
    "reduction": ("reduction", "#ffffb3"),
    "move": ("moves data only", "#f2f2f2"),
    "other": ("other", "#e0e0e0"),
}
"""What each kind of box is, and its colour; black text on each has a contrast of at least 7 to 1."""


@dataclass(frozen=True)
class Box:
    """One operation, table, input or output; `lines` say its attributes and weights, `bytes` how large its constants are."""

    name: str
    title: str
    kind: Kind
    lines: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()
    bytes: int = 0


@dataclass(frozen=True)
class Edge:
    """A tensor from one box to another; the label is its type and shape."""

    source: str
    target: str
    label: str = ""


@dataclass(frozen=True)
class Group:
    """The boxes of one HugeCTR layer, or of several that were fused."""

    title: str
    boxes: tuple[str, ...]


@dataclass(frozen=True)
class Diagram:
    """A drawing's boxes, groups and edges; the order of the boxes is one in which they can be computed."""

    title: str
    boxes: tuple[Box, ...]
    edges: tuple[Edge, ...]
    groups: tuple[Group, ...] = ()

    @property
    def kinds(self) -> list[Kind]:
        """The kinds that occur, in the order of the legend."""
        used = {box.kind for box in self.boxes}
        return [kind for kind in BOX_KINDS if kind in used]


def groups_of(boxes: Iterable[Box], types: dict[str, str] | None = None) -> tuple[Group, ...]:
    """Return a group for each set of layers; `types` gives the type of a layer by its top. Boxes of no layer stand alone."""
    members: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for box in boxes:
        if box.layers:
            members[box.layers].append(box.name)
    return tuple(Group(_title(layers, types or {}), tuple(names)) for layers, names in members.items())


def _title(layers: tuple[str, ...], types: dict[str, str]) -> str:
    named = [f"{types[layer]} {layer}" if layer in types else layer for layer in layers]
    return " + ".join(named)
