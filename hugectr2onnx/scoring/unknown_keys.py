"""Do the keys of a data set find rows in a model's tables? Asked of the model's own key maps, for some samples."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hugectr2onnx.backend.onnx.onnx_file import as_artifact, read_model
from hugectr2onnx.backend.saving.key_file import KEYS_METADATA
from hugectr2onnx.datasets.request_forms import feeder, key_inputs, padded_keys
from hugectr2onnx.datasets.schema import KeyInput, Schema
from hugectr2onnx.errors import FeedError, HugeCTR2ONNXError
from hugectr2onnx.ir.types import Array
from hugectr2onnx.verification.row_finder import RowFinder
from hugectr2onnx.verification.table_gathers import TableGathers

if TYPE_CHECKING:
    from hugectr2onnx.backend.onnx.artifact import Artifact

SAMPLED_ROWS = 512
MAX_MAP_BYTES = 128 << 20
"""A key map that is larger takes too long to open a second time; its keys are not looked at."""
MIN_KEYS = 50
PLAUSIBLE = 0.5
"""Share of unknown keys up to which a slot is taken for data with new keys."""
CERTAIN = 0.99
"""Share of unknown keys of a whole input from which on its offsets are certainly those of another model."""
_UNKNOWN = 1 << 62


@dataclass(frozen=True)
class SlotKeys:
    """Keys of one slot (`slot` counts from 0 within its input) and how many of them the table lacks."""

    input: str
    slot: int
    keys: int
    unknown: int

    @property
    def share(self) -> float:
        return self.unknown / self.keys if self.keys else 0.0


def check_keys(
    model: str | os.PathLike[str], schema: Schema, inputs: Mapping[str, Array], name: str
) -> tuple[str, ...]:
    """Look up the keys of the first samples; returns warnings for slots in which most of them are unknown.

    Inputs that take rows in the place of keys are left out. Raises FeedError where a slot_size_array leads
    nearly all keys of an input out of its table.
    """
    try:
        counted = KeyCounter(model, schema).count(inputs)
    except HugeCTR2ONNXError:
        return ()  # a file of another converter may do its look-ups in a way that cannot be asked
    warnings = []
    for sparse in schema.sparse:
        slots = [each for each in counted if each.input == sparse.name]
        keys, unknown = sum(each.keys for each in slots), sum(each.unknown for each in slots)
        if any(each > 0 for each in schema.offsets) and keys >= MIN_KEYS and unknown > CERTAIN * keys:
            raise FeedError(_outside(name, sparse, schema, keys, unknown))
        warnings += [_doubt(name, each) for each in slots if each.keys >= MIN_KEYS and each.share > PLAUSIBLE]
    return tuple(warnings)


def _outside(name: str, sparse: KeyInput, schema: Schema, keys: int, unknown: int) -> str:
    first = sum(each.slots for each in schema.sparse[: schema.sparse.index(sparse)])
    offsets = schema.offsets[first : first + sparse.slots]
    return (
        f"{name}: with the offsets {offsets[0]} to {offsets[-1]} of the slot_size_array, {unknown:,} of the first {keys:,} "
        f"keys of {sparse.name} are not in the model's table; give the slot_size_array that the model was trained with"
    )


def _doubt(name: str, slot: SlotKeys) -> str:
    return (
        f"{name}: {slot.share:.0%} of the first {slot.keys:,} keys in slot {slot.slot} of {slot.input} are not in the "
        "model's table; is it the data of this model, and are offsets missing (slot_size_array)?"
    )


class KeyCounter:
    """Counts unknown keys of batches, slot by slot; the key maps are opened once, at the first batch.

    Raises an error of this family for a file whose look-ups cannot be asked.
    """

    def __init__(self, model: str | os.PathLike[str], schema: Schema, threads: int = 0) -> None:
        self._artifact = as_artifact(read_model(model), model)
        self._schema = schema
        self._threads = threads
        gathers = TableGathers(self._artifact)
        mapped = {entry.key.removeprefix(KEYS_METADATA) for entry in self._artifact.skeleton.metadata_props}
        is_small = _map_bytes(self._artifact) <= MAX_MAP_BYTES
        asked = [each for each in schema.sparse if is_small and each.is_fed and each.name not in mapped]
        indices = {each: gathers.indices_of(key_inputs(schema, each)) for each in asked}
        self._indices = {each: found for each, found in indices.items() if found}
        self._finders: dict[str, RowFinder] = {}

    def count(self, inputs: Mapping[str, Array]) -> list[SlotKeys]:
        """Count the keys of a batch's first samples; inputs that take rows in place of keys are left out."""
        found: list[SlotKeys] = []
        schema = self._schema
        for sparse, indices in self._indices.items():
            keys = padded_keys(inputs, schema, sparse, SAMPLED_ROWS)
            if keys.size:
                found += _by_slot(self._finder(sparse, keys.shape[1:], indices), sparse, keys, schema.padding)
        return found

    def _finder(self, sparse: KeyInput, shape: tuple[int, ...], indices: list[str]) -> RowFinder:
        wanted = (1, *shape)
        if sparse.name not in self._finders:
            self._finders[sparse.name] = RowFinder(
                self._artifact,
                key_inputs(self._schema, sparse),
                wanted,
                indices,
                feeder(self._schema, sparse),
                self._threads,
            )
        found = self._finders[sparse.name]
        # Batches may be of many widths: one session serves all of them.
        return found if found.shape == wanted else found.of_shape(wanted)


def _map_bytes(artifact: Artifact) -> int:
    """Return bytes of the model file itself: keys of encoders are in it, rows of large tables are not."""
    return int(artifact.skeleton.ByteSize())


def _by_slot(finder: RowFinder, sparse: KeyInput, keys: Array, padding: int) -> Iterator[SlotKeys]:
    """Yield each slot alone, the others padded: its keys are known where they do not lead to the row of an unknown key."""
    for slot in range(keys.shape[1]):
        alone = np.full(keys.shape, padding, np.int64)
        alone[:, slot] = keys[:, slot]
        strange = np.full(keys.shape, padding, np.int64)
        strange[:, slot] = np.where(keys[:, slot] == padding, padding, _UNKNOWN)
        known = finder.rows(alone.reshape(len(keys), -1)) != finder.rows(strange.reshape(len(keys), -1))
        given = keys[:, slot] != padding
        count, filled = int(given.sum()), max(1, int(given.any(axis=0).sum()))
        # A key that several look-ups read is at several places; those that held nothing but padding tell nothing.
        readers = max(1, -(-int(known.any(axis=0).sum()) // filled))
        yield SlotKeys(sparse.name, slot, count, max(0, count - int(known.sum()) // readers))
