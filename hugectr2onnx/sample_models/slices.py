"""The Slices that HugeCTR inserts where a tensor is consumed more than once (formats 1.6)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from hugectr2onnx.errors import CompilerError

Layer = Mapping[str, object]
MOST_USES = 5


def insert_slices(layers: Sequence[Layer], layer_attrs: Mapping[str, Mapping[str, object]]) -> list[Layer]:
    """Return the layers with a Slice `T -> T_slice0, T_slice1, ...` before the first consumer of every shared tensor T."""
    dense = [layer for layer in layers if _is_dense(layer)]
    uses = Counter(name for layer in dense for name in _names(layer["bottom"]))
    shared = {name: count for name, count in uses.items() if count > 1}
    if not shared:
        return list(layers)
    if max(shared.values()) > MOST_USES:
        raise CompilerError(f"a sample consumes a tensor more than {MOST_USES} times: {shared}")
    widths = _widths(layers, layer_attrs)
    result: list[Layer] = []
    seen: Counter[str] = Counter()
    for layer in layers:
        bottoms = _names(layer["bottom"]) if _is_dense(layer) else []
        result += [_slice(n, shared[n], widths[n]) for n in dict.fromkeys(bottoms) if n in shared and not seen[n]]
        result.append(_rename(layer, bottoms, shared, seen))
    return result


def _is_dense(layer: Layer) -> bool:
    return "bottom" in layer and "sparse_embedding_hparam" not in layer


def _names(names: object) -> list[str]:
    return [names] if isinstance(names, str) else list(names)  # type: ignore[call-overload]


def _slice(name: str, uses: int, width: int) -> Layer:
    tops = [f"{name}_slice{use}" for use in range(uses)]
    return {"type": "Slice", "bottom": name, "top": tops, "ranges": [[0, width]] * uses}


def _rename(layer: Layer, bottoms: list[str], shared: Mapping[str, int], seen: Counter[str]) -> Layer:
    if not any(name in shared for name in bottoms):
        return layer
    renamed = []
    for name in bottoms:
        renamed.append(f"{name}_slice{seen[name]}" if name in shared else name)
        seen[name] += 1
    return {**layer, "bottom": renamed[0] if len(renamed) == 1 else renamed}


def _widths(layers: Sequence[Layer], layer_attrs: Mapping[str, Mapping[str, object]]) -> dict[str, int]:
    """Return the last dimension of every tensor, from an import without weights; it takes a shared tensor as it is."""
    from hugectr2onnx.frontend.graph_json import reader
    from hugectr2onnx.frontend.layers.layer import REGISTRY
    from hugectr2onnx.frontend.recovery import dry_import
    from hugectr2onnx.frontend.resolved_options import ResolvedOptions
    from hugectr2onnx.options import Options

    clauses = reader.read({"layers": list(layers)}, REGISTRY.keys())
    importer = dry_import(clauses, ResolvedOptions(Options(layer_attrs=layer_attrs)))
    for error in importer.errors:
        raise error
    lasts = {name: value.type.shape[-1] for name, value in importer.values.items()}
    return {name: last for name, last in lasts.items() if isinstance(last, int)}
