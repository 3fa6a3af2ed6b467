"""Recognize files that people give in place of a graph JSON or of weights, so that an error can say what they are."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from hugectr2onnx.tables.regular_file import first_bytes

_HEAD_BYTES = 512
_UNPACK = "unpack it first"
_ARCHIVES = (".gz", ".tgz", ".zip", ".tar", ".bz2", ".xz", ".zst", ".7z")
_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"\x1f\x8b", f"gzip-compressed: {_UNPACK}"),
    (b"PK\x03\x04", f"a zip archive (or an .npz, or a PyTorch file): {_UNPACK}"),
    (b"BZh", f"bzip2-compressed: {_UNPACK}"),
    (b"\xfd7zXZ\x00", f"xz-compressed: {_UNPACK}"),
    (b"(\xb5/\xfd", f"zstd-compressed: {_UNPACK}"),
    (b"7z\xbc\xaf\x27\x1c", f"a 7z archive: {_UNPACK}"),
    (b"PAR1", "a Parquet file: training data, not a part of the model"),
    (b"\x93NUMPY", "a numpy array file (.npy): HugeCTR's files have no header"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file, as of Keras"),
)
_SOK_HEADER = 296
_SOK = "a dump of SparseOperationKit (sok.dump), whose header HugeCTR's files do not have"
_SCRIPT = ("import hugectr", "from hugectr", "hugectr.Model(", "hugectr.CreateSolver(")


def foreign_kind(path: str | os.PathLike[str]) -> str | None:
    """Such as "gzip-compressed: unpack it first"; None where the file is nothing that is known, or cannot be read."""
    head = first_bytes(path, _HEAD_BYTES)
    return _by_content(head) or _by_name(Path(path))


def is_surely_foreign(path: str | os.PathLike[str]) -> bool:
    """Tell whether name and content agree, or the content is text: bytes of weights alone may look like any archive's."""
    head = first_bytes(path, _HEAD_BYTES)
    archive = Path(path).suffix.lower() in _ARCHIVES
    return (archive and _by_content(head) is not None) or _is_text(head) or _is_sok(head)


def _by_content(head: bytes) -> str | None:
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return kind
    if head[257:262] == b"ustar":
        return f"a tar archive: {_UNPACK}"
    if _is_sok(head):
        return _SOK
    if not _is_text(head):
        return None
    text = head.decode("ascii", "replace").lstrip()
    if text.startswith(("{", "[")):
        return "a JSON text"
    return "a Python script: give the files that it wrote" if is_script(text) else "a text"


def _by_name(path: Path) -> str | None:
    return f"an archive by its name: {_UNPACK}" if path.suffix.lower() in _ARCHIVES else None


def _is_text(head: bytes) -> bool:
    return len(head) >= 16 and all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in head)


def is_script(text: str) -> bool:
    """Tell whether a text looks like a Python script, perhaps one that trains a model."""
    text = text.lstrip()
    return text.startswith(("#!", "import ", "from ", '"""')) or any(each in text for each in _SCRIPT)


def _is_sok(head: bytes) -> bool:
    """256 bytes of a name, the kind of file as a big-endian 0, 1 or 2, a name, and a type from 0 to 6 (formats 2.6)."""
    if len(head) < _SOK_HEADER:
        return False
    kind, dtype = head[256:260], head[292:296]
    name = head[:256].strip(b"\0 ")
    printable = all(32 <= byte < 127 for byte in name)
    return printable and kind[:3] == dtype[:3] == b"\0\0\0" and kind[3] < 3 and dtype[3] < 7 and any(head[260:292])


def foreign_json(value: Mapping[str, object]) -> str | None:
    """Tell what a JSON object without layers is; None where it is nothing that is known."""
    if "models" in value and ("supportlonglong" in value or "volatile_db" in value):
        return "the configuration of an HPS deployment (ps.json): its network_file is the graph, if it has one"
    if "file_stats" in value or "conts" in value:
        return "the _metadata.json of a Parquet data set"
    if "lookups" in value:
        return "the description of an EmbeddingCollection, which goes beside a graph"
    if str(value.get("format", "")).startswith("hugectr2onnx manifest"):
        return "the manifest of a compiled model"
    return None
