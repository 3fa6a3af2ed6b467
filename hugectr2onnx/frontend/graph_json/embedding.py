"""Embedding layers of every version (formats 1.4 and 1.8)."""

from __future__ import annotations

import math
from collections.abc import Collection
from difflib import get_close_matches
from typing import Literal

from hugectr2onnx.errors import UnsupportedError
from hugectr2onnx.frontend.graph_json.clauses import DataClause, EmbeddingClause, SparseInput
from hugectr2onnx.frontend.graph_json.fields import INT64_MAX, Fields
from hugectr2onnx.frontend.graph_json.names import only_name

DISTRIBUTED = "DistributedSlotSparseEmbeddingHash"
LOCALIZED = "LocalizedSlotSparseEmbeddingHash"
ONE_HOT = "LocalizedSlotSparseEmbeddingOneHot"
HYBRID = "HybridSparseEmbedding"
EMBEDDING_TYPES = (DISTRIBUTED, LOCALIZED, ONE_HOT, HYBRID)
V1_EMBEDDING_TYPES = ("SparseEmbedding", "SparseEmbeddingHash")

# Floats of one sample, pooled and before pooling.
_MAX_FLOATS = 1 << 24
MOST_GATHERED = 1 << 26


def is_embedding(type_name: str, where: str, dense_types: Collection[str]) -> bool:
    """Tell whether the type is an embedding; raises UnsupportedError for one of v1.x or one that nobody knows."""
    if type_name in EMBEDDING_TYPES:
        return True
    if type_name in V1_EMBEDDING_TYPES:
        raise UnsupportedError(
            f"{where}: {type_name} is an embedding of HugeCTR v1.x, which is not supported; train with v2.x or later"
        )
    if "Embedding" not in type_name or type_name in dense_types:
        return False
    nearest = get_close_matches(type_name, EMBEDDING_TYPES, n=1, cutoff=0.0)[0]
    raise UnsupportedError(f'{where}: "{type_name[:60]}" is no embedding type; the nearest is {nearest}')


def read_embedding(fields: Fields, index: int, type_name: str, data: DataClause) -> EmbeddingClause:
    """Return one embedding layer; raises GraphJsonError where it and the Data layer do not fit."""
    source = _source(fields, data)
    slot_sizes = _hparam_slot_sizes(fields)
    if type_name == ONE_HOT:
        _check_one_hot(fields, slot_sizes, source)
    return EmbeddingClause(
        index=index,
        type=type_name,
        bottom=source.top,
        top=only_name(fields, "top"),
        vec_size=_vec_size(fields, source),
        combiner=_combiner(fields),
        slot_size_array=slot_sizes,
        default_value=_default_value(fields),
    )


def _source(fields: Fields, data: DataClause) -> SparseInput:
    bottom = only_name(fields, "bottom")
    for source in data.sparse:
        if source.top == bottom:
            return source
    known = ", ".join(source.top for source in data.sparse)[:200] or "none"
    raise fields.wrong("bottom", f"a sparse input of the Data layer ({known})", bottom)


def _vec_size(fields: Fields, source: SparseInput) -> int:
    key = "sparse_embedding_hparam.embedding_vec_size"
    size = fields.integer(key, minimum=1, maximum=_MAX_FLOATS)
    if size * source.slot_num > _MAX_FLOATS:
        raise fields.wrong(key, f"at most {_MAX_FLOATS} floats a sample in {source.slot_num} slots", size)
    if size * source.slot_num * source.max_nnz > MOST_GATHERED:
        raise fields.wrong(key, f"at most {MOST_GATHERED} floats a sample before pooling", size)
    return size


def _combiner(fields: Fields) -> Literal["sum", "mean"]:
    """Return a string, or the integers 0 and 1 of files up to v3.0."""
    key = "sparse_embedding_hparam.combiner"
    found = fields.value(key)
    if found == "sum" or (found == 0 and not isinstance(found, bool)):
        return "sum"
    if found == "mean" or (found == 1 and not isinstance(found, bool)):
        return "mean"
    raise fields.wrong(key, '"sum" or "mean" (0 or 1 in old files)', found)


def _hparam_slot_sizes(fields: Fields) -> tuple[int, ...] | None:
    key = "sparse_embedding_hparam.slot_size_array"
    sizes = fields.integers(key, (), minimum=0, maximum=INT64_MAX) or None
    if sizes and sum(sizes) > INT64_MAX:
        raise fields.wrong(key, "sizes whose sum is a 64-bit integer", sum(sizes))
    return sizes


def _check_one_hot(fields: Fields, sizes: tuple[int, ...] | None, source: SparseInput) -> None:
    if sizes is None or len(sizes) != source.slot_num:
        raise fields.wrong(
            "sparse_embedding_hparam.slot_size_array",
            f"{source.slot_num} sizes, one for each slot of {source.top}, as {ONE_HOT} needs them",
            sizes,
        )


def _default_value(fields: Fields) -> float:
    """Return the component that keys missing in the table have (formats 1.8); graph_to_json never writes it."""
    key = "sparse_embedding_hparam.default_emb_vec_value"
    value = fields.number(key, 0.0)
    if not math.isfinite(value) or abs(value) > 3.4e38:
        raise fields.wrong(key, "a float32", value)
    return value
