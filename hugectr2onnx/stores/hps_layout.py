"""The request of an HPS ensemble: which keys go where (formats 6.2 and 6.4)."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from hugectr2onnx.errors import FeedError, StoreError
from hugectr2onnx.ir.given_feeds import InputForm, normalize_feeds
from hugectr2onnx.ir.ops.lookup_blocks import Block
from hugectr2onnx.passes.lookups.hps_inputs import KEYS_INPUT
from hugectr2onnx.stores.record import InputRecord
from hugectr2onnx.tables.array import Array
from hugectr2onnx.tables.key_index import MAX_KEY

COUNTS_INPUT = "EMB_N_KEY"
_PADDING = -1
LAYOUT_FORMAT = "hugectr2onnx.hps"


@dataclass(frozen=True)
class HpsTable:
    """One look-up, which is a table of HPS: the input that it reads, and what each slot adds to its keys."""

    table: str
    keys: str
    slots: int
    nnz: int
    width: int
    offsets: tuple[int, ...] = ()
    default: float = 0.0

    @property
    def block(self) -> Block:
        return Block(self.table, self.slots, self.nnz, self.width)

    def arranged(self, keys: Array) -> Array:
        """int64 [N * slots * nnz]: sample by sample, offsets added, each slot padded to its places (formats 6.2)."""
        if keys.shape[2] > self.nnz:
            if (keys[:, :, self.nnz :] >= 0).any():
                raise FeedError(
                    f"input {self.keys} has {keys.shape[2]} keys in a slot, and HPS knows {self.nnz} at most"
                )
            keys = keys[:, :, : self.nnz]
        arranged = np.full((len(keys), self.slots, self.nnz), _PADDING, np.int64)
        own = keys
        if self.offsets:
            offsets = np.array(self.offsets, np.int64).reshape(1, -1, 1)
            own = np.where(keys < 0, keys, np.minimum(keys, MAX_KEY - offsets) + offsets)
        arranged[:, :, : keys.shape[2]] = own
        return arranged.reshape(-1)


@dataclass(frozen=True)
class HpsLayout:
    """The layout of an ensemble's requests: the tables in their order, and the model's own inputs.

    `dense`: inputs that go to the dense part as they are.
    """

    model: str
    tables: tuple[HpsTable, ...]
    inputs: tuple[InputRecord, ...]
    dense: tuple[str, ...]
    ignored: tuple[str, ...] = ()

    def request(self, feeds: Mapping[str, Any]) -> dict[str, Array]:
        """Return the inputs of the ensemble for inputs of the whole model: EMB_KEY [1, K], EMB_N_KEY [1, tables], dense values.

        Raises FeedError for inputs that do not fit, and for more keys in a slot than training had.
        """
        forms: dict[str, InputForm] = {entry.name: entry.form for entry in self.inputs}
        arrays = normalize_feeds(forms, feeds, ignored=self.ignored)
        keys = [table.arranged(arrays[table.keys]) for table in self.tables]
        counts = np.array([[len(each) for each in keys]], np.int32)
        joined = np.concatenate(keys).reshape(1, -1)
        return {KEYS_INPUT: joined, COUNTS_INPUT: counts, **{name: arrays[name] for name in self.dense}}

    def to_json(self) -> str:
        return json.dumps({"format": LAYOUT_FORMAT, **asdict(self)}, indent=1)

    @staticmethod
    def read(path: str | os.PathLike[str]) -> HpsLayout:
        """Return the layout that `export_hps` wrote. Raises StoreError for another file."""
        try:
            with open(path, encoding="utf-8") as file:
                plain = json.loads(file.read(1 << 26))
            if plain["format"] != LAYOUT_FORMAT:
                raise ValueError("it is of another program")
            tables = tuple(HpsTable(**{**each, "offsets": tuple(each["offsets"])}) for each in plain["tables"])
            inputs = tuple(InputRecord(e["name"], e["dtype"], tuple(e["shape"])) for e in plain["inputs"])
            return HpsLayout(plain["model"], tables, inputs, tuple(plain["dense"]), tuple(plain["ignored"]))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise StoreError(f"{path} is not the layout of an HPS request: {error}") from error
