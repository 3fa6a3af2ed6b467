"""From the keys of a request to their places among its different keys."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from hugectr2onnx.stores.record import PlacesInput, VersionRecord
from hugectr2onnx.tables.array import Array
from hugectr2onnx.tables.key_index import MAX_KEY

Fetch = Callable[[str, Array], Array]
"""From the name of a table and different keys int64 [n] to their rows, float32 [n, width]."""


@dataclass(frozen=True)
class FoundPlaces:
    """`places` has the shape of the keys, -1 for padding; `keys` are the different ones, those of each GPU in turn."""

    places: Array
    keys: tuple[Array, ...]


def find_places(entry: PlacesInput, keys: Array) -> FoundPlaces:
    """Return the places of keys int64 [N, slot, nnz], offsets added as the model's look-ups add them (formats 4.1)."""
    padding = keys < 0 if entry.padding_key is None else keys == entry.padding_key
    moved = keys
    if entry.offsets:
        offsets = np.array(entry.offsets, np.int64).reshape(1, -1, 1)
        moved = np.minimum(keys, MAX_KEY - offsets) + offsets
    gpus = len(entry.rows[0].tables)
    places, different, first = np.full(keys.shape, -1, np.int64), [], 0
    owner = (np.arange(keys.shape[1]) % gpus).reshape(1, -1, 1)
    for gpu in range(gpus):
        own = ~padding & (owner == gpu)
        unique, inverse = np.unique(moved[own], return_inverse=True)
        places[own] = inverse.reshape(-1) + first
        different.append(unique)
        first += len(unique)
    return FoundPlaces(places, tuple(different))


def dense_feeds(record: VersionRecord, feeds: Mapping[str, Array], fetch: Fetch) -> dict[str, Array]:
    """Return the inputs of the dense part for those of the whole model: keys give way to places and rows."""
    known = {entry.keys for entry in record.places}
    found = {name: array for name, array in feeds.items() if name not in known}
    for entry in record.places:
        own = find_places(entry, feeds[entry.keys])
        found[entry.input] = own.places
        for rows in entry.rows:
            parts = [fetch(table, keys) for table, keys in zip(rows.tables, own.keys, strict=True)]
            found[rows.input] = parts[0] if len(parts) == 1 else np.concatenate(parts)
    return found
