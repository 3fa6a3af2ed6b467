"""Batches in the forms "csr" and "hugectr" of a model's interface: keys and offsets in the place of padding.

(docs/interfaces.md)
"""

from __future__ import annotations

import numpy as np

from hugectr2onnx.datasets.row_batch import RowBatch
from hugectr2onnx.datasets.schema import Schema
from hugectr2onnx.frontend.embeddings.interface import ALL_KEYS, ALL_OFFSETS, CSR, DENSE
from hugectr2onnx.ir.given_feeds import OFFSETS
from hugectr2onnx.ir.types import Array


def as_fed(batch: RowBatch, schema: Schema) -> RowBatch:
    """Return the inputs of a batch, which are in the padded form, in the form that the model takes."""
    if schema.is_padded:
        return batch
    inputs = dict(batch.inputs)
    fed = {each.name: in_rows(inputs.pop(each.name), schema.padding) for each in schema.sparse if each.is_fed}
    if schema.form == CSR:
        for name, (keys, offsets) in fed.items():
            inputs |= {name: keys, f"{name}{OFFSETS}": offsets}
        return RowBatch(inputs, batch.labels, batch.ids, len(batch))
    if schema.dense is not None and schema.feeds_dense:
        inputs[DENSE] = np.ascontiguousarray(inputs.pop(schema.dense)).reshape(-1)
    if fed:
        inputs[ALL_KEYS] = np.concatenate([keys for keys, _ in fed.values()])
        inputs[ALL_OFFSETS] = np.concatenate([offsets for _, offsets in fed.values()]).astype(np.int32)
    return RowBatch(inputs, batch.labels, batch.ids, len(batch))


def in_rows(padded: Array, padding: int) -> tuple[Array, Array]:
    """int64 [n, slots, width] -> the keys without padding [K], and where those of each slot begin [n * slots + 1]."""
    there = padded != padding
    offsets = np.zeros(padded.shape[0] * padded.shape[1] + 1, np.int64)
    np.cumsum(there.sum(axis=2).ravel(), out=offsets[1:])
    return padded[there], offsets
