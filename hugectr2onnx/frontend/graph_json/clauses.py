"""The clauses of a graph JSON, typed and the same for every version of HugeCTR; no tensors, no files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Label:
    """A target: the name of one output and its width."""

    name: str
    dim: int


@dataclass(frozen=True)
class SparseInput:
    """One entry of `Data.sparse`: `slot_num` slots, slot s with at most `nnz_per_slot[s]` keys a sample."""

    top: str
    slot_num: int
    nnz_per_slot: tuple[int, ...]
    is_fixed_length: bool

    @property
    def max_nnz(self) -> int:
        return max(self.nnz_per_slot)


@dataclass(frozen=True)
class DataClause:
    """The Data layer; `labels` in label order, `slot_size_array` only where a hand-written file states the reader's."""

    labels: tuple[Label, ...]
    dense_top: str
    dense_dim: int
    sparse: tuple[SparseInput, ...]
    slot_size_array: tuple[int, ...] | None = None


@dataclass(frozen=True)
class EmbeddingClause:
    """An embedding layer: `[N, slot_num, vec_size]` from the keys of the sparse input `bottom`; `index` in `layers`."""

    index: int
    type: str
    bottom: str
    top: str
    vec_size: int
    combiner: Literal["sum", "mean"]
    slot_size_array: tuple[int, ...] | None = None
    default_value: float = 0.0

    @property
    def where(self) -> str:
        return f"layers[{self.index}] {self.type} {self.bottom} -> {self.top}"


@dataclass(frozen=True)
class LayerClause:
    """A dense layer; `params` is its JSON object without type, bottom, top, name and initialisers.

    `is_type_open`: a CrossEntropyLoss that is a MultiCrossEntropyLoss if its prediction has not two columns.
    """

    index: int
    type: str
    bottoms: tuple[str, ...]
    tops: tuple[str, ...]
    params: Mapping[str, object]
    is_type_open: bool = False

    @property
    def where(self) -> str:
        return f"layers[{self.index}] {self.type} {', '.join(self.bottoms)} -> {', '.join(self.tops)}"


@dataclass(frozen=True)
class GraphClauses:
    """A whole graph JSON.

    `label_of` maps every name that denotes a label, or a copy of one, to the label. `key_bytes` is 4 or 8 where the
    file states `input_key_type` (formats 1.8): only the single-file tables of v2.x and v3.0 need it.
    """

    model_name: str | None
    data: DataClause
    embeddings: tuple[EmbeddingClause, ...]
    layers: tuple[LayerClause, ...]
    label_of: Mapping[str, str]
    warnings: tuple[str, ...] = ()
    key_bytes: int | None = None
