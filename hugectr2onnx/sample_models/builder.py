"""A stand-in for HugeCTR's `model.add`: layers in the order of a training script, written as graph_to_json of v25.03 would.

The user of HugeCTR names a tensor as often as needed; `compile()` then inserts Slices so that each is consumed once, and
that is what the JSON shows (formats 1.6).
"""

from __future__ import annotations

import itertools
import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hugectr2onnx.frontend.graph_json.embedding import DISTRIBUTED
from hugectr2onnx.sample_models.key_styles import KeyStyle, equal_slots
from hugectr2onnx.sample_models.slices import insert_slices

Json = dict[str, object]

MIB = 1 << 20
ADAM_COPIES = 3


@dataclass(frozen=True)
class SparseParam:
    """hugectr.DataReaderSparseParam(top, nnz, fixed, slots)."""

    top: str
    slots: int
    nnz: int | tuple[int, ...] = 1
    fixed: bool = True

    @property
    def nnz_per_slot(self) -> tuple[int, ...]:
        return (self.nnz,) * self.slots if isinstance(self.nnz, int) else self.nnz


class ModelBuilder:
    """Input, then embeddings, then dense layers; `graph()` is the JSON, `rows` and `keys` what its tables should hold."""

    def __init__(self, *sparse: SparseParam, dense: int = 0, labels: Mapping[str, int] | None = None):
        self._sparse = {each.top: each for each in sparse}
        self._data = _data(sparse, dense, dict(sorted((labels or {"label": 1}).items())))
        self._embeddings: list[Json] = []
        self._layers: list[Json] = []
        self.rows: dict[str, int] = {}
        self.keys: dict[str, KeyStyle] = {}
        self.layer_attrs: dict[str, dict[str, object]] = {}
        self.slot_size_array: tuple[int, ...] | None = None
        """The reader's list, by which keys in style "offsets" were offset."""

    def embedding(
        self,
        bottom: str,
        top: str,
        vec: int,
        rows: int,
        *,
        keys: KeyStyle = "offsets",
        type: str = DISTRIBUTED,
        combiner: str = "sum",
        slot_sizes: Sequence[int] | None = None,
    ) -> str:
        hparam: Json = {"combiner": combiner, "embedding_vec_size": vec}
        if slot_sizes:
            hparam["slot_size_array"] = list(slot_sizes)
        clause: Json = {"type": type, "bottom": bottom, "top": top, "sparse_embedding_hparam": hparam}
        self._embeddings.append(clause | {"optimizer": _adam()})
        self.rows[top], self.keys[top] = rows, keys
        return top

    def add(self, type: str, bottom: str | Sequence[str], top: str | Sequence[str], **keys: object) -> str:
        """Any dense layer, with the keys that the JSON has for it; returns its first top."""
        bottoms, tops = _names(bottom), _names(top)
        self._layers.append({"type": type, "bottom": _plain(bottoms), "top": _plain(tops), **keys})
        return tops[0]

    def fc(self, bottom: str, top: str, width: int) -> str:
        return self.add("InnerProduct", bottom, top, fc_param={"num_output": width})

    def relu(self, bottom: str, top: str) -> str:
        return self.add("ReLU", bottom, top)

    def dropout(self, bottom: str, top: str) -> str:
        return self.add("Dropout", bottom, top, rate=0.5)

    def reshape(self, bottom: str, top: str, leading_dim: int, time_step: int = 0) -> str:
        return self.add("Reshape", bottom, top, leading_dim=leading_dim, time_step=time_step)

    def concat(self, bottoms: Sequence[str], top: str, axis: int = 1) -> str:
        return self.add("Concat", bottoms, top, axis=axis)

    def slice(self, bottom: str, tops: Sequence[str], ranges: Sequence[tuple[int, int]]) -> str:
        return self.add("Slice", bottom, tops, ranges=[list(pair) for pair in ranges])

    def loss(self, bottom: str, label: str = "label", top: str = "loss") -> str:
        return self.add("BinaryCrossEntropyLoss", [bottom, label], top)

    def tower(self, bottom: str, number: int, width: int) -> str:
        """fc -> relu -> dropout, numbered as NVIDIA's scripts do."""
        return self.dropout(self.relu(self.fc(bottom, f"fc{number}", width), f"relu{number}"), f"dropout{number}")

    def graph(self) -> Json:
        """Return the parsed JSON, Slices inserted."""
        layers = [self._data, *(self._with_capacity(clause) for clause in self._embeddings), *self._layers]
        return {"layers": [_widened(layer) for layer in insert_slices(layers, self.layer_attrs)]}

    def _with_capacity(self, clause: Json) -> Json:
        """Add what the table has room for: whole MiB of Adam's copies, as the script's user asks for (formats 1.3)."""
        hparam = clause["sparse_embedding_hparam"]
        assert isinstance(hparam, dict)
        row_bytes = ADAM_COPIES * 4 * hparam["embedding_vec_size"]
        workspace = max(1, -(-self._vocabulary(clause) * row_bytes // MIB))
        capacity = {
            "max_vocabulary_size_global": workspace * MIB // row_bytes,
            "workspace_size_per_gpu_in_mb": workspace,
        }
        return {**clause, "sparse_embedding_hparam": {**hparam, **capacity}}

    def _vocabulary(self, clause: Json) -> int:
        """Return the numbers from 0 to the largest key, which NVIDIA's converter needs room for; hashes have no such bound."""
        top, entry = str(clause["top"]), self._sparse[str(clause["bottom"])]
        if self.keys[top] != "offsets":
            return self.rows[top]
        if self.slot_size_array is None:
            return equal_slots(self.rows[top], entry.slots) * entry.slots
        before = sum(each.slots for each in itertools.takewhile(lambda each: each is not entry, self._sparse.values()))
        return sum(self.slot_size_array[: before + entry.slots])

    def text(self) -> str:
        """Return the file: keys sorted, indent 2, no newline at the end (formats 1.1)."""
        return json.dumps(self.graph(), indent=2, sort_keys=True)


def _data(sparse: Sequence[SparseParam], dense: int, labels: Mapping[str, int]) -> Json:
    tops, dims = list(labels), list(labels.values())
    entries = [
        {"top": s.top, "slot_num": s.slots, "nnz_per_slot": list(s.nnz_per_slot), "is_fixed_length": s.fixed}
        for s in sparse
    ]
    return {
        "type": "Data",
        "label": {"top": _plain(tops), "label_dim": dims[0] if len(dims) == 1 else dims},
        "dense": {"top": "dense", "dense_dim": dense},
        "sparse": entries,
    }


def _adam() -> Json:
    return {
        "type": "Adam",
        "update_type": "Global",
        "adam_hparam": {"beta1": 0.9, "beta2": 0.999, "epsilon": 1e-7},
    }


def _names(names: str | Sequence[str]) -> list[str]:
    return [names] if isinstance(names, str) else list(names)


def _plain(names: list[str]) -> str | list[str]:
    return names[0] if len(names) == 1 else names


def _widened(value: object) -> object:
    """Floats as C++ prints them: a float32 widened to double."""
    if isinstance(value, float):
        return struct.unpack("f", struct.pack("f", value))[0]
    if isinstance(value, dict):
        return {key: _widened(item) for key, item in value.items()}
    return [_widened(item) for item in value] if isinstance(value, list) else value
