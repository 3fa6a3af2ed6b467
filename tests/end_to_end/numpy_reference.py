"""Whole HugeCTR models in plain numpy, float64: a second reading of the specification that shares no code with the compiler.

It reads the JSON and the binaries by itself and walks the layers with literal formulas (`numpy_layers`). It is slow and
trusts its input: a test uses it, nobody else should.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .numpy_layers import LAYERS, LOSSES, Array, Layer, listed, type_of

Row = dict[int, Array]


class Model:
    """A graph JSON (as a dict) and its files; `predict` gives the outputs by label, or by top without a loss.

    attributes: what graph_to_json loses, by top. lookups: the calls of an EmbeddingCollection, dump: its folder.
    """

    def __init__(
        self,
        graph: Mapping[str, Any],
        dense: Path,
        sparse: Sequence[Path],
        ntp: Sequence[Any] = (),
        *,
        attributes: Mapping[str, Mapping[str, Any]] | None = None,
        lookups: Sequence[Mapping[str, Any]] = (),
        dump: Path | None = None,
    ):
        self.layers = graph["layers"]
        self.stored = np.fromfile(dense, "<f4")
        self.sparse = sparse
        self.ntp = ntp
        self.attributes = attributes or {}
        self.lookups = lookups
        self.dump = dump

    def predict(self, feeds: Mapping[str, Array], precision: type = np.float64, nudge: float = 0.0) -> dict[str, Array]:
        """The outputs, each layer computed in `precision`.

        `nudge` moves masked scores, relative to the largest of their row, before they are rounded (layers 3.15): where
        that changes the result, it depends on the last bits of a score.
        """
        self.precision, self.nudge, self.cursor, self.norms = precision, nudge, 0, 0
        self.dense = self.stored.astype(precision)
        values = {name: array.astype(precision) for name, array in feeds.items() if array.dtype.kind == "f"}
        tables = [layer for layer in self.layers if "sparse_embedding_hparam" in layer]
        for layer, folder in zip(tables, self.sparse, strict=True):
            values[listed(layer["top"])[0]] = embed(layer, folder, feeds[listed(layer["bottom"])[0]]).astype(precision)
        for lookup in self.lookups:
            assert self.dump is not None
            values[lookup["top"]] = look_up(lookup, self.dump, feeds).astype(precision)
        outputs: dict[str, Array] = {}
        for layer in self.layers[1 + len(tables) :]:
            bottoms, tops = listed(layer["bottom"]), listed(layer["top"])
            if layer["type"].endswith("Loss"):
                outputs[bottoms[1]] = LOSSES[layer["type"]](values[bottoms[0]])
            elif bottoms[0] in values:
                results = LAYERS[type_of(layer)](self, layer, *(values[b] for b in bottoms if b in values))
                results = results if isinstance(results, list) else [results]
                values.update(zip(tops, [np.asarray(array, precision) for array in results], strict=False))
        consumed = {bottom for layer in self.layers[1:] for bottom in listed(layer["bottom"])}
        assert self.cursor == len(self.dense)
        return outputs or {top: array for top, array in values.items() if top not in consumed and top not in feeds}

    def take(self, *shape: int) -> Array:
        """The next weights of the dense file."""
        start, self.cursor = self.cursor, self.cursor + int(np.prod(shape))
        return self.dense[start : self.cursor].reshape(shape)

    def attribute(self, layer: Layer, name: str, default: Any) -> Any:
        """What graph_to_json loses of a layer."""
        return self.attributes.get(listed(layer["top"])[0], {}).get(name, default)


def embed(layer: Layer, folder: Path, keys: Array) -> Array:
    """Formats 3.2, one key at a time: negative is padding, unknown counts and adds nothing."""
    hparam = layer["sparse_embedding_hparam"]
    width = hparam["embedding_vec_size"]
    vectors = np.fromfile(folder / "emb_vector", "<f4").reshape(-1, width)
    rows: Row = dict(zip(np.fromfile(folder / "key", "<i8").tolist(), vectors, strict=True))
    offsets = np.zeros(keys.shape[1], np.int64)
    if layer["type"].endswith("OneHot"):
        offsets = np.concatenate([[0], np.cumsum(hparam["slot_size_array"])[:-1]])
    pooled = np.zeros((*keys.shape[:2], width))
    for sample, slot in np.ndindex(*keys.shape[:2]):
        mine = [int(key) + int(offsets[slot]) for key in keys[sample, slot] if key >= 0]
        pooled[sample, slot] = pool(rows, mine, width, hparam["combiner"] in ("mean", 1))
    return pooled


def pool(rows: Row, keys: Sequence[int], width: int, mean: bool) -> Array:
    """The sum or the mean of the vectors of some keys."""
    total = sum((rows.get(key, np.zeros(width)).astype(np.float64) for key in keys), start=np.zeros(width))
    return np.asarray(total / len(keys) if mean and keys else total)


def look_up(lookup: Mapping[str, Any], dump: Path, feeds: Mapping[str, Array]) -> Array:
    """One call of an EmbeddingCollection (formats 3.6): [N, columns] for lists of tables, else [N, 1, columns]."""
    if not isinstance(lookup["table"], list):
        return look_up_one(lookup["table"], lookup["bottom"], lookup["combiner"], dump, feeds)[:, None]
    calls = zip(lookup["table"], lookup["bottom"], lookup["combiner"], strict=True)
    return np.concatenate([look_up_one(*call, dump, feeds) for call in calls], 1)


def look_up_one(table: int, bottom: str, combiner: str, dump: Path, feeds: Mapping[str, Array]) -> Array:
    head = 128  # bytes: 32 numbers, of which the second is the id of the table
    keys = np.fromfile(dump / f"key{table}", "<i8", offset=head)
    vectors = np.fromfile(dump / f"weight{table}", "<f4", offset=head).reshape(len(keys), -1)
    rows, width = dict(zip(keys.tolist(), vectors, strict=True)), vectors.shape[1]
    samples = []
    for mine in feeds[bottom][:, 0].tolist():
        if combiner == "concat":
            samples.append(np.concatenate([pool(rows, [key] if key >= 0 else [], width, False) for key in mine]))
        else:
            samples.append(pool(rows, [key for key in mine if key >= 0], width, combiner == "average"))
    return np.array(samples)
