"""How many GPUs wrote a Localized table that holds a key more than once (formats 2.2).

A Localized row lives on GPU `slot_id mod G` and the look-up goes by (GPU, key). G is not stored, but two rows of one key
lie on different GPUs, and the file lists the rows GPU by GPU (formats 2.1).
"""

from __future__ import annotations

import numpy as np

from hugectr2onnx.errors import MissingInformationError, WeightsError
from hugectr2onnx.ir.types import Array

MOST_GPUS = 4096


def infer_gpus(keys: Array, slot_ids: Array, where: str) -> int:
    """The number of GPUs; raises MissingInformationError where several fit and WeightsError where none does."""
    most = min(int(slot_ids.max()) + 1, MOST_GPUS)
    repeated_keys, repeated_slots = _repeated(keys, slot_ids)
    separating = [gpus for gpus in range(2, most + 1) if _separates(repeated_keys, repeated_slots % gpus)]
    ordered = [gpus for gpus in separating if np.all(np.diff(slot_ids % gpus) >= 0)]
    fitting = ordered or separating
    if not fitting:
        raise WeightsError(
            f"{where}: a key stands twice under one slot_id: the table is damaged or joined from several"
        )
    if len(fitting) > 1:
        raise MissingInformationError(
            f"{where}: keys stand under several slot_ids, and which row a slot reads depends on the number of GPUs of the "
            f"training; {', '.join(map(str, fitting[:8]))} all fit the table: give n_gpus"
        )
    return fitting[0]


def _repeated(keys: Array, slot_ids: Array) -> tuple[Array, Array]:
    """The rows whose key stands more than once: only they can rule a number of GPUs out."""
    order = np.argsort(keys, kind="stable")
    twin = np.diff(keys[order]) == 0
    rows = order[np.r_[twin, False] | np.r_[False, twin]]
    return keys[rows], slot_ids[rows]


def _separates(keys: Array, gpus: Array) -> bool:
    order = np.lexsort((gpus, keys))
    same_key = np.diff(keys[order]) == 0
    same_gpu = np.diff(gpus[order]) == 0
    return not bool(np.any(same_key & same_gpu))
