"""Let NVIDIA's HPS find the rows: one input has those of all look-ups, another their keys (formats 6.4)."""

from __future__ import annotations

from hugectr2onnx.ir.graph import Graph
from hugectr2onnx.ir.ops.fetched_rows import FetchedLookup
from hugectr2onnx.ir.ops.lookup_blocks import Block, LookupBlocks
from hugectr2onnx.ir.types import Width, f32, i64

VECTORS_INPUT, KEYS_INPUT = "LOOKUP_VECTORS", "EMB_KEY"


def hps_inputs(graph: Graph) -> tuple[str, ...]:
    """%e = fetched_lookup(%k.places, %e.rows)  ->  %e = fetched_lookup(blocks.0, blocks.1) of the vector of all rows

    It runs behind `fetch_rows`. Returns the names of the rows inputs that are gone, in the order of the vector.
    """
    lookups = [node for node in graph if isinstance(node.op, FetchedLookup)]
    blocks = []
    for node in lookups:
        _, slots, nnz = node.inputs[0].shape
        width = node.inputs[1].shape[1]
        assert isinstance(slots, int) and isinstance(nnz, int) and isinstance(width, int)
        blocks.append(Block(node.inputs[1].node.name, slots, int(nnz), width))
    vectors = graph.input(VECTORS_INPUT, f32(Width(1, "numbers")))
    keys = graph.input(KEYS_INPUT, i64(Width(1, "requests"), Width(1, "keys")))
    results = graph.add(LookupBlocks(tuple(blocks)), vectors, keys).node.results if blocks else ()
    for place, node in enumerate(lookups):
        with graph.building(*node.sources):
            found = graph.add(node.op, *results[2 * place : 2 * place + 2], name=node.name)
        graph.replace(node.results[0], found)
        graph.erase_dead(node)
    graph.prune_inputs()
    return tuple(block.name for block in blocks)
