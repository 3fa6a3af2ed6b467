"""The inputs of a model: dense values and keys in the form that the caller chose (option `interface`).

- "padded": the dense top float32 [N, dense_dim], and each sparse top int64 [N, slot_num, nnz].
- "csr": the dense top, and for each sparse top its keys int64 [K] and `TOP.offsets` int64 [N * slot_num + 1].
- "hugectr": DES float32 [N * dense_dim], CATCOLUMN int64 (the keys of all sparse tops, in Data order) and ROWINDEX int32
  (their offsets, from 0 on for each top), as clients of HugeCTR's inference backend send them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from hugectr2onnx.errors import OptionError, Setting, UnsupportedError
from hugectr2onnx.frontend.embeddings.keys import Keys, exclusive_sum, key_width
from hugectr2onnx.frontend.graph_json.clauses import DataClause, SparseInput
from hugectr2onnx.ir.given_feeds import OFFSETS
from hugectr2onnx.ir.graph import Graph, Value
from hugectr2onnx.ir.ops.requests import PadKeys, SplitSamples, SplitTables, csr_types
from hugectr2onnx.ir.types import DType, N, TensorType, Width, f32, i64
from hugectr2onnx.options import Options

PADDED, CSR, HUGECTR = "padded", "csr", "hugectr"
DENSE, ALL_KEYS, ALL_OFFSETS = "DES", "CATCOLUMN", "ROWINDEX"


def declare_dense(graph: Graph, data: DataClause, options: Options) -> dict[str, Value]:
    """Return the dense top by its name, if the model has one."""
    if data.dense_dim == 0 and not options.keep_empty_dense:
        return {}
    if options.interface != HUGECTR:
        return {data.dense_top: graph.input(data.dense_top, f32(N, data.dense_dim))}
    if data.dense_dim == 0:
        raise OptionError(
            "a dense input without columns does not say how many samples there are: leave out ",
            Setting("keep_empty_dense", True),
            " or ",
            Setting("interface", HUGECTR),
        )
    flat = graph.input(DENSE, f32(Width(data.dense_dim, "values_DES")))
    return {data.dense_top: graph.add(SplitSamples(data.dense_dim), flat, name=data.dense_top)}


def check_interface(options: Options) -> None:
    """Raise OptionError where keys in some form are asked for and none come in."""
    if options.interface != PADDED and not options.convert_embedding:
        raise OptionError(
            "the vectors of the embeddings are inputs with ",
            Setting("convert_embedding", False),
            ", so that no keys come in: leave it out or ",
            Setting("interface", options.interface),
        )


@dataclass(frozen=True)
class KeyInputs:
    """The form in which keys come in. `fixed`: tops whose nnz is a part of the shape of what is made of them."""

    interface: str
    fixed: Collection[str] = ()
    padding_key: int | None = None

    def declare(
        self, graph: Graph, data: DataClause, read: Collection[str], slot_size_array: tuple[int, ...] = ()
    ) -> dict[str, Keys]:
        """Return the keys i64[N, slot_num, nnz] of each sparse top that an embedding reads, in Data order.

        nnz is 1 for a padded top whose slots hold one key at most, else a symbol `nnz_<top>` that each request chooses. With
        the reader's `slot_size_array` the inputs are raw keys and slot g gets the sum of the sizes before it added; slots
        beyond the list get 0 (formats 4.1).
        """
        values = self._values(graph, data, read)
        offsets = exclusive_sum(slot_size_array)
        keys: dict[str, Keys] = {}
        first = 0
        for sparse in data.sparse:
            own = tuple(offsets[g] if g < len(offsets) else 0 for g in range(first, first + sparse.slot_num))
            if sparse.top in read:
                keys[sparse.top] = Keys.of(values[sparse.top], own, self.padding_key)
            first += sparse.slot_num
        return keys

    def _values(self, graph: Graph, data: DataClause, read: Collection[str]) -> Mapping[str, Value]:
        wanted = [sparse for sparse in data.sparse if sparse.top in read]
        if self.interface == PADDED:
            return {each.top: graph.input(each.top, self._padded_type(each)) for each in wanted}
        for each in wanted:
            self._check_free(each)
        if self.interface == CSR:
            return {each.top: self._pad(graph, each, *self._csr_inputs(graph, each.top)) for each in wanted}
        return self._joined(graph, data, wanted)

    def _joined(self, graph: Graph, data: DataClause, wanted: Collection[SparseInput]) -> Mapping[str, Value]:
        if not wanted:
            return {}
        keys = graph.input(ALL_KEYS, i64(Width(1, f"keys_{ALL_KEYS}")))
        offsets = graph.input(ALL_OFFSETS, TensorType(DType.I32, (Width(1, f"offsets_{ALL_OFFSETS}"),)))
        split = SplitTables(tuple(each.slot_num for each in data.sparse), tuple(each.top for each in data.sparse))
        parts = split(keys, offsets).node.results
        pairs = {each.top: parts[2 * place : 2 * place + 2] for place, each in enumerate(data.sparse)}
        return {each.top: self._pad(graph, each, *pairs[each.top]) for each in wanted}

    def _padded_type(self, sparse: SparseInput) -> TensorType:
        return i64(N, sparse.slot_num, key_width(sparse, self.fixed))

    def _csr_inputs(self, graph: Graph, top: str) -> list[Value]:
        return [graph.input(name, type) for name, type in zip((top, f"{top}{OFFSETS}"), csr_types(top), strict=True)]

    def _pad(self, graph: Graph, sparse: SparseInput, keys: Value, offsets: Value) -> Value:
        return graph.add(PadKeys(sparse.slot_num, sparse.max_nnz, sparse.top, self.padding_key), keys, offsets)

    def _check_free(self, sparse: SparseInput) -> None:
        if sparse.top in self.fixed:
            raise UnsupportedError(
                f'{sparse.top} is read by a look-up with the combiner "concat", which has a place for each of its '
                f"{sparse.max_nnz} keys: this needs ",
                Setting("interface", PADDED),
            )
