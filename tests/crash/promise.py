"""What docs/decisions/008 promises, as assertions; and the layouts that a model may have."""

from __future__ import annotations

import itertools
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hugectr2onnx.backend.onnx.onnx_file import as_artifact, read_model
from hugectr2onnx.backend.saving.folder import clean_folder, rebuild_manifest, verify_manifest
from hugectr2onnx.backend.saving.key_file import KeyFile, KeyMapper
from hugectr2onnx.backend.saving.manifest import entries
from hugectr2onnx.backend.saving.save import save
from tests.backend.saving.models import model_of

NAME = "m.onnx"
FOREIGN = {
    "notes.txt": b"somebody's",
    ".m.onnx.notes.cafecafe.new": b"somebody's",
    "m.onnx.data": b"somebody's",
    "m.onnx.0123456789abcdef.data": b"somebody's",
}
KEYS = np.array([5, 3, 8])


@dataclass(frozen=True)
class Layout:
    """How a model is saved."""

    kind: str
    manifest: bool
    key_maps: bool

    def __str__(self) -> str:
        return "-".join([self.kind, *(["manifest"] if self.manifest else []), *(["keys"] if self.key_maps else [])])

    def save(self, folder: Path, value: int, name: str = NAME) -> None:
        options: dict[str, Any] = {"inline": {}, "external": {"external": True}, "shards": {"shard_size": 2400}}[
            self.kind
        ]
        if self.kind == "more-shards":
            options = {"shard_size": 1}
        keys = [KeyFile("row", "table", KEYS + value)] if self.key_maps else []
        save(
            model_of(value),
            folder / name,
            checksums=self.manifest,
            facts=(lambda: {"value": value}) if self.manifest else None,
            key_files=keys,
            **options,
        )

    def beside(self) -> list[str]:
        """What lies beside the model."""
        data = {"inline": [], "external": [".data"], "shards": [f".data-0000{n}-of-00002" for n in (1, 2)]}[self.kind]
        return [*data, *([".row.keys"] if self.key_maps else [])]


LAYOUTS = [Layout(*each) for each in itertools.product(["inline", "external", "shards"], [False, True], [False, True])]


def value_of(folder: Path, name: str = NAME) -> int | None:
    """Which model stands, whole, with its data and its key map; None where there is none."""
    path = folder / name
    if not path.exists():
        return None
    model = read_model(path)
    artifact = as_artifact(model, path)
    arrays = [artifact.tensors[name].materialise() for name in artifact.tensors]
    import onnx

    arrays += [onnx.numpy_helper.to_array(t) for t in model.graph.initializer if t.name not in artifact.tensors]
    values = {float(value) for array in arrays for value in (array.min(), array.max())}
    assert len(values) == 1, f"a mixture of {values}"
    value = int(values.pop())
    if model.metadata_props:
        assert KeyMapper.open(path).rows(KEYS + value).tolist() == [0, 1, 2]
    return value


def make(folder: Path, layout: Layout | None, value: int) -> None:
    """A folder with files of others and perhaps a model."""
    folder.mkdir()
    for name, content in FOREIGN.items():
        (folder / name).write_bytes(content)
    if layout is not None:
        layout.save(folder, value)


def assert_promise(folder: Path, old: int | None, new: int, following: Layout) -> int | None:
    """One of the two models opens and is whole; later saves work; what nothing refers to goes. Returns which model."""
    found = value_of(folder)
    assert found in (old, new)
    twin = folder.with_name(f"{folder.name}-cleaned")
    shutil.copytree(folder, twin)
    clean_folder(twin)
    assert value_of(twin) == found
    assert_tidy(twin)
    assert rebuild_manifest(twin).problems == ()
    following.save(folder, 7)
    assert value_of(folder) == 7
    clean_folder(folder)
    assert value_of(folder) == 7
    assert_tidy(folder, following)
    assert_manifest(folder, following)
    return found


def assert_tidy(folder: Path, layout: Layout | None = None) -> None:
    """Nothing is there but what the model refers to, a manifest, one record at most, and the files of others."""
    assert {name: (folder / name).read_bytes() for name in FOREIGN} == FOREIGN
    names = set(os.listdir(folder)) - {*FOREIGN, NAME, "manifest.json"}
    records = {name for name in names if re.fullmatch(r"\.hugectr2onnx-[0-9a-f]{16}\.save", name)}
    report = verify_manifest(folder)
    referred = {record.name for record in report.files} - {NAME}
    assert names - records == referred
    assert len(records) == (1 if referred else 0)
    if layout is not None:
        assert sorted(re.sub(r"^m\.onnx\.[0-9a-f]{16}", "", name) for name in referred) == sorted(layout.beside())


def assert_manifest(folder: Path, layout: Layout) -> None:
    """The manifest says what stands, after a save that came to its end."""
    stated = entries(folder)
    assert [entry["value"] for entry in stated.values()] == ([7] if layout.manifest else [])
    problems = verify_manifest(folder).problems
    assert all("no entry in the manifest" in problem for problem in problems)
