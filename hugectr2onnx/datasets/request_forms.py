"""Batches in the forms "csr" and "hugectr" of a model's interface: keys and offsets in the place of padding.

(docs/interfaces.md)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from hugectr2onnx.datasets.row_batch import RowBatch
from hugectr2onnx.datasets.schema import KeyInput, Schema
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


def key_inputs(schema: Schema, sparse: KeyInput) -> tuple[str, ...]:
    """Return the names of the inputs that hold the keys of a sparse top."""
    if schema.form == CSR:
        return sparse.name, f"{sparse.name}{OFFSETS}"
    return (sparse.name,) if schema.is_padded else (ALL_KEYS, ALL_OFFSETS)


def padded_keys(inputs: Mapping[str, Array], schema: Schema, sparse: KeyInput, most: int) -> Array:
    """Return the keys of a sparse top, of at most so many samples, in the padded form [n, slots, width]."""
    if schema.is_padded:
        return inputs[sparse.name][:most]
    keys, starts = (inputs[name] for name in key_inputs(schema, sparse))
    if schema.form != CSR:
        keys, starts = _of_one_top(keys, starts, schema, sparse)
    counts = np.diff(starts)[: most * sparse.slots]
    padded = np.full((len(counts), max(1, int(counts.max(initial=0)))), schema.padding, np.int64)
    padded[np.arange(padded.shape[1]) < counts[:, None]] = keys[: counts.sum()]
    return padded.reshape(-1, sparse.slots, padded.shape[1])


def _of_one_top(keys: Array, starts: Array, schema: Schema, sparse: KeyInput) -> tuple[Array, Array]:
    """Return the part of CATCOLUMN and ROWINDEX that is a sparse top's; offsets begin with 0 for each."""
    fed = [each for each in schema.sparse if each.is_fed]
    samples = (len(starts) - len(fed)) // sum(each.slots for each in fed)
    first_key = first_start = 0
    for each in fed:
        own = starts[first_start : first_start + samples * each.slots + 1]
        if each == sparse:
            return keys[first_key : first_key + own[-1]], own
        first_key, first_start = first_key + int(own[-1]), first_start + len(own)
    raise ValueError(f"{sparse.name} is not fed")


def feeder(schema: Schema, sparse: KeyInput) -> Callable[[Array], dict[str, Array]]:
    """Return a function from the padded keys of one sparse top to its inputs; padding stays, other tops have no keys."""
    if schema.is_padded:
        return lambda keys: {sparse.name: keys}
    names = key_inputs(schema, sparse)
    fed = [each for each in schema.sparse if each.is_fed]

    def inputs(padded: Array) -> dict[str, Array]:
        samples, slots, width = padded.shape
        own = np.arange(samples * slots + 1) * width
        if schema.form == CSR:
            return dict(zip(names, (padded.ravel(), own), strict=True))
        starts = [own if each == sparse else np.zeros(samples * each.slots + 1, np.int64) for each in fed]
        return dict(zip(names, (padded.ravel(), np.concatenate(starts).astype(np.int32)), strict=True))

    return inputs
