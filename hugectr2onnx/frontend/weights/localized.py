"""Find out how many GPUs wrote a Localized table that holds a key more than once (formats 2.2).

A Localized row lives on GPU `slot_id mod G` and the look-up goes by (GPU, key). G is not stored, but two rows of one key
lie on different GPUs, and the file lists the rows GPU by GPU (formats 2.1).
"""

from __future__ import annotations

import numpy as np

from hugectr2onnx.errors import MissingInformationError, OptionError, Setting, WeightsError
from hugectr2onnx.ir.types import Array
from hugectr2onnx.tables import paging

MOST_GPUS = 4096


def check_slot_ids(slot_ids: Array, slots: int, where: str) -> None:
    """Raise WeightsError for a slot that the layer does not have: slots count from 0, as in HugeCTR's slot_id."""
    for chunk in paging.chunks(np.asarray(slot_ids)):
        low, high = int(chunk.min()), int(chunk.max())
        if low < 0 or high >= slots:
            # uint64 in the file.
            found = (low if low < 0 else high) % (1 << 64)
            raise WeightsError(
                f"{where}: its slot_id file holds {found}, and the layer's slots are 0 to {slots - 1}: is slot_id swapped with "
                "key, or is it of another table?"
            )


def check_gpus(keys: Array, slot_ids: Array, gpus: int, where: str) -> None:
    """Raise OptionError where two rows of one key would lie on one of so many GPUs, which can hold one."""
    repeated_keys, repeated_slots = _repeated(keys, slot_ids)
    if not _separates(repeated_keys, repeated_slots):
        raise _damaged(where)
    if not _separates(repeated_keys, repeated_slots % gpus):
        raise OptionError(
            f"{where}: with ",
            Setting("n_gpus", gpus),
            " a key stands twice on one GPU, which HugeCTR's tables cannot hold: give the number of the training, or leave it "
            "out to have it inferred",
        )


def infer_gpus(keys: Array, slot_ids: Array, slots: int, where: str) -> int:
    """Return the number of GPUs of a layer with so many slots.

    Numbers that give every slot the same rows count as one. Raises MissingInformationError where several fit and WeightsError
    where none does.
    """
    # From the widest distance between a slot and a row on, no slot but a row's own reads it, however many GPUs there are.
    reach = max(int(slot_ids.max()), slots - 1 - int(slot_ids.min()))
    repeated_keys, repeated_slots = _repeated(keys, slot_ids)
    candidates = range(2, min(reach + 1, MOST_GPUS) + 1)
    separating = [gpus for gpus in candidates if _separates(repeated_keys, repeated_slots % gpus)]
    ordered = [gpus for gpus in separating if np.all(np.diff(slot_ids % gpus) >= 0)]
    fitting = ordered or separating
    if not fitting:
        raise _damaged(where)
    if len(fitting) > 1:
        raise MissingInformationError(
            f"{where}: keys stand under several slot_ids, and which row a slot reads depends on the number of GPUs of the "
            f"training; {', '.join(map(str, fitting[:8]))} all fit the table: give ",
            Setting("n_gpus"),
        )
    return fitting[0]


def _damaged(where: str) -> WeightsError:
    return WeightsError(f"{where}: a key stands twice under one slot_id: the table is damaged or joined from several")


def _repeated(keys: Array, slot_ids: Array) -> tuple[Array, Array]:
    """Return the rows whose key stands more than once: only they can rule a number of GPUs out."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    twin = ordered[1:] == ordered[:-1]
    repeated = np.zeros(len(keys), bool)
    repeated[1:] |= twin
    repeated[:-1] |= twin
    rows = order[repeated]
    return keys[rows], slot_ids[rows]


def _separates(keys: Array, gpus: Array) -> bool:
    order = np.lexsort((gpus, keys))
    same_key = np.diff(keys[order]) == 0
    same_gpu = np.diff(gpus[order]) == 0
    return not bool(np.any(same_key & same_gpu))
