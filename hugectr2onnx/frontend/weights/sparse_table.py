"""Embedding tables on disk: the folder of v3.1 and later, the single file of v2.x and v3.0 (formats 2.1 and 2.3).

Everything is mapped; rows stay in file order, which is the order of HugeCTR's hash tables and means nothing.
"""

from __future__ import annotations

import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hugectr2onnx.errors import MissingInformationError, Setting, WeightsError
from hugectr2onnx.frontend.graph_json.embedding import LOCALIZED, ONE_HOT
from hugectr2onnx.frontend.graph_json.json_text import StrPath
from hugectr2onnx.frontend.weights.mapped_file import FLOAT32, INT64, file_size, file_status, map_file
from hugectr2onnx.tables.key_index import column

_TYPES_WITH_SLOT_ID = frozenset({LOCALIZED, ONE_HOT})
_WIDEST = 1 << 26
_CHUNK = 1 << 20
_HEAD = slice(0, 4096)
_ROWS_THAT_TELL = 8
KEY_FLOATS = INT64.itemsize // FLOAT32.itemsize


@dataclass(frozen=True, eq=False)
class SparseTable:
    """`keys` int64 [n], `vectors` float32 [n, vec_size], row r of the one belonging to row r of the other.

    `slot_ids` int64 [n] where the file has them (Localized, OneHot). Arrays are read-only views of the mapped file;
    those of a single file have a stride.
    """

    path: Path | None
    keys: NDArray[Any]
    vectors: NDArray[Any]
    slot_ids: NDArray[Any] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "keys", column(self.keys))


def open_table(path: StrPath, vec_size: int, type: str, key_bytes: int | None = None) -> SparseTable:
    """Return maps a table of `vec_size` floats a row for an embedding of the given HugeCTR type.

    `key_bytes` (4 or 8) matters for single files only. Raises WeightsError where files are missing, misaligned or of
    another table, and MissingInformationError where a single file can be read with both key widths.
    """
    if not 1 <= vec_size <= _WIDEST:
        raise WeightsError(f"{path}: an embedding_vec_size of {vec_size} is out of bounds (1 to {_WIDEST})")
    has_slot_id = type in _TYPES_WITH_SLOT_ID
    if stat.S_ISDIR(file_status(path, "an embedding table").st_mode):
        return _open_folder(Path(path), vec_size, has_slot_id)
    return _open_single_file(Path(path), vec_size, has_slot_id, key_bytes)


def keys_are_unique(keys: NDArray[Any]) -> bool:
    """Tell whether no key occurs twice.

    Keys in order cost no memory, keys of a narrow range one byte for each number in it, any others one sorted copy.
    """
    if keys.size < 2 or _is_increasing(keys):
        return True
    low, high = int(keys.min()), int(keys.max())
    if high - low < 8 * keys.size:
        return _is_unique_in_range(keys, low, high)
    return _is_increasing(np.sort(keys))


def _is_increasing(keys: NDArray[Any]) -> bool:
    """Return one chunk and the first key of the next at a time."""
    starts = range(0, max(keys.size - 1, 0), _CHUNK)
    return all(bool((chunk[1:] > chunk[:-1]).all()) for chunk in (keys[at : at + _CHUNK + 1] for at in starts))


def _is_unique_in_range(keys: NDArray[Any], low: int, high: int) -> bool:
    seen = np.zeros(high - low + 1, np.bool_)
    for at in range(0, keys.size, _CHUNK):
        seen[keys[at : at + _CHUNK] - low] = True
    return int(np.count_nonzero(seen)) == keys.size


def _open_folder(path: Path, vec_size: int, has_slot_id: bool) -> SparseTable:
    keys = map_file(path / "key", INT64, "the int64 keys of the table")
    _check_vector_bytes(path, keys.size, file_size(path / "emb_vector", "the float32 vectors of the table"), vec_size)
    vectors = map_file(path / "emb_vector", FLOAT32, "the float32 vectors of the table").reshape(keys.size, vec_size)
    _check_order(path, keys, vectors)
    return SparseTable(path, keys, vectors, _slot_ids(path / "slot_id", keys.size) if has_slot_id else None)


def _check_order(path: Path, keys: NDArray[Any], vectors: NDArray[Any]) -> None:
    """Raise WeightsError for keys and vectors in one another's place: with 2 floats a row their files are of one size.

    Vectors of zeros, tiny or damaged ones are no proof: the keys must also look like weights, and the vectors like keys.
    Hashed keys look like weights once in four times, so that a few of them are no proof either.
    """
    if vectors.shape[1] != KEY_FLOATS or not len(keys) or _share_of_weights(vectors) > 0.5:
        return
    as_vectors, as_keys = keys.view(FLOAT32).reshape(vectors.shape), vectors.reshape(-1).view(INT64)
    has_both_words = np.count_nonzero(as_vectors[_HEAD, 1]) > len(as_vectors[_HEAD]) // 2
    tells = as_keys.min() >= 0 and (as_keys.max() < 1 << 32 or len(keys) >= _ROWS_THAT_TELL)
    if has_both_words and tells and _is_plausible(SparseTable(path, as_keys, as_vectors), 8):
        raise WeightsError(
            f"{path}: key holds what look like vectors, and emb_vector what look like keys: are the two files swapped?"
        )


def _share_of_weights(vectors: NDArray[Any]) -> float:
    return float(_is_weight(vectors[_HEAD]).all(axis=1).mean())


def _check_vector_bytes(path: Path, count: int, found: int, vec_size: int) -> None:
    expected = 4 * vec_size * count
    if found == expected:
        return
    if count and found and found % (4 * count) == 0:
        hint = f"; the files would fit embedding_vec_size={found // (4 * count)}"
    else:
        hint = "; key and emb_vector do not fit one another either, one of them is truncated or from another snapshot"
    raise WeightsError(
        f"{path}: belongs to another table: {count} keys and embedding_vec_size={vec_size} need 4*{vec_size}*{count} = "
        f"{expected} bytes in emb_vector, which has {found}{hint}"
    )


def _slot_ids(path: Path, count: int) -> NDArray[Any] | None:
    """Missing slot_ids are legal: they matter only where a key occurs twice (formats 2.2)."""
    if not _exists(path):
        return None
    slots = map_file(path, INT64, "the slot of each key")
    if slots.size != count:
        raise WeightsError(f"{path}: has {slots.size} entries for {count} keys: truncated, or from another snapshot")
    return slots


def _exists(path: Path) -> bool:
    try:
        return path.is_symlink() or path.exists()
    except OSError:
        # There is something that cannot be reached; opening it gives the reason.
        return True


def _open_single_file(path: Path, vec_size: int, has_slot_id: bool, key_bytes: int | None) -> SparseTable:
    size = file_size(path, "an embedding table")
    if size == 0:
        return _from_records(path, _record(8, vec_size, has_slot_id))
    return _from_records(path, _record(_key_width(path, size, vec_size, has_slot_id, key_bytes), vec_size, has_slot_id))


def _record(key_bytes: int, vec_size: int, has_slot_id: bool) -> np.dtype[Any]:
    """Packed: no padding follows a 4-byte key."""
    slot = [("slot_id", "<i8")] if has_slot_id else []
    return np.dtype([("key", "<i8" if key_bytes == 8 else "<u4"), *slot, ("vector", "<f4", (vec_size,))])


def _from_records(path: Path, record: np.dtype[Any]) -> SparseTable:
    rows = map_file(path, record, "records of key and vector")
    keys = rows["key"] if record["key"] == INT64 else rows["key"].astype(INT64)
    return SparseTable(path, keys, rows["vector"], rows["slot_id"] if "slot_id" in (record.names or ()) else None)


def _key_width(path: Path, size: int, vec_size: int, has_slot_id: bool, key_bytes: int | None) -> int:
    """4 or 8: what the caller says, else what divides the file, else what gives plausible keys and vectors."""
    if key_bytes not in (None, 4, 8):
        raise WeightsError(f"{path}: key_bytes is {key_bytes}; keys have 4 or 8 bytes")
    records = {width: _record(width, vec_size, has_slot_id) for width in (4, 8) if key_bytes in (None, width)}
    fitting = [width for width, record in records.items() if size % record.itemsize == 0]
    if not fitting:
        raise _misfit(path, size, records)
    if len(fitting) == 1:
        return fitting[0]
    plausible = [width for width in fitting if _is_plausible(_from_records(path, records[width]), width)]
    if len(plausible) == 1:
        return plausible[0]
    raise MissingInformationError(
        f"{path}: its {size} bytes can be read with 4-byte keys ({size // records[4].itemsize} rows) and with 8-byte "
        f"keys ({size // records[8].itemsize} rows), and the values do not tell which; say "
        '"solver": {"input_key_type": "I32"} or "I64" in the graph JSON, or give ',
        Setting("key_bytes", 4),
        " or 8",
    )


def _misfit(path: Path, size: int, records: dict[int, np.dtype[Any]]) -> WeightsError:
    sizes = " or ".join(f"{record.itemsize} bytes ({width}-byte keys)" for width, record in records.items())
    return WeightsError(
        f"{path}: has {size} bytes, no multiple of a record of {sizes}; the table has another embedding_vec_size or "
        "type, or the file is truncated"
    )


def _is_plausible(table: SparseTable, width: int) -> bool:
    """Tell whether the bytes make sense so: read with the wrong width, keys end up as floats and floats as keys."""
    empty_slot_marker = 2**63 - 1 if width == 8 else 2**32 - 1
    if not _are_weights(table.vectors[_HEAD]) or not _are_weights(table.vectors[-4096:]):
        return False
    if table.slot_ids is not None:
        return bool(((table.slot_ids[_HEAD] >= 0) & (table.slot_ids[_HEAD] < 1 << 20)).all())
    return not bool((table.keys[_HEAD] == empty_slot_marker).any()) and keys_are_unique(table.keys)


def _are_weights(vectors: NDArray[Any]) -> bool:
    return bool(_is_weight(vectors).all())


def _is_weight(vectors: NDArray[Any]) -> NDArray[Any]:
    size = np.abs(vectors)
    return np.asarray((size == 0) | ((size > 1e-30) & (size < 1e10)))
