"""Write into an ONNX node's metadata which HugeCTR layers it holds, and read it back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

LAYER_KEY = "hugectr.layer"
"""The metadata key under which a node names the layers that it came from."""
_SEPARATOR = ", "


def note_layers(node: onnx.NodeProto, layers: Sequence[str]) -> None:
    """Write the layers, by their first tops, into a node."""
    if layers:
        node.metadata_props.add(key=LAYER_KEY, value=_SEPARATOR.join(layers))


def layers_of(node: onnx.NodeProto) -> tuple[str, ...]:
    """Return the layers that a node holds; none in a file of another converter."""
    text = next((str(entry.value) for entry in node.metadata_props if entry.key == LAYER_KEY), "")
    return tuple(text.split(_SEPARATOR)) if text else ()
