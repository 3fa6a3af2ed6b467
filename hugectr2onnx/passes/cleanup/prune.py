"""Remove what no output needs. Interface inputs stay, whether they are needed or not."""

from __future__ import annotations

from hugectr2onnx.ir.graph import Graph
from hugectr2onnx.passes.rewriter import Fires


def prune(graph: Graph) -> Fires:
    """%a = relu(%x); %b = relu(%y); return out=%a  ->  %a = relu(%x); return out=%a

    Tables that only dead look-ups read go with them.
    """
    return +Fires({"prune": graph.prune()})
