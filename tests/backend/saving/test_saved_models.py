"""`CompiledModel.save`: what the model and its manifest say about where it comes from."""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hugectr2onnx
from hugectr2onnx.backend.runtime import sessions
from hugectr2onnx.frontend.weights.source_files import SourceFile, source_files
from hugectr2onnx.verification.verify_file import verify

CALL = {"table": ["user"], "bottom": ["keys"], "top": "vec", "combiner": ["sum"]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """graph.json, dense.model and a dump of one table, look-ups described in ec.json."""
    sparse = {"top": "keys", "slot_num": 1, "nnz_per_slot": [2], "is_fixed_length": False}
    dense = {"top": "dense", "dense_dim": 0}
    data = {"type": "Data", "label": {"top": "label", "label_dim": 1}, "dense": dense, "sparse": [sparse]}
    product = {"type": "InnerProduct", "bottom": "vec", "top": "fc", "fc_param": {"num_output": 1}}
    loss = {"type": "BinaryCrossEntropyLoss", "bottom": ["fc", "label"], "top": "loss"}
    (tmp_path / "graph.json").write_text(json.dumps({"layers": [data, product, loss]}))
    (tmp_path / "dense.model").write_bytes(np.ones(3, "<f4").tobytes())
    (tmp_path / "ec.json").write_text(json.dumps({"path": "dump", "lookups": [CALL]}))
    dump = tmp_path / "dump" / "embedding_collection_0"
    dump.mkdir(parents=True)
    (dump / "meta_data").write_bytes(
        np.array([1, 1, 0, 0, 0, 0], "<i4").tobytes() + np.array([2], "<u8").tobytes() + np.array([2], "<i4").tobytes()
    )
    (dump / "key0").write_bytes(head_of(1) + np.array([7, 9], "<i8").tobytes())
    (dump / "weight0").write_bytes(head_of(2) + np.array([[1, 2], [3, 4]], "<f4").tobytes())
    return tmp_path


def head_of(kind: int) -> bytes:
    return np.array([kind, 0], "<i4").tobytes().ljust(128, b"\0")


def compiled(folder: Path, **options: Any) -> hugectr2onnx.CompiledModel:
    given = {"embedding_collection": folder / "ec.json", "simplify": False, **options}
    return hugectr2onnx.compile(folder / "graph.json", {"dense": folder / "dense.model"}, **given)


def options_of(model: hugectr2onnx.CompiledModel) -> dict[str, Any]:
    properties = {entry.key: entry.value for entry in model.model.metadata_props}
    return json.loads(properties["hugectr2onnx.options"])  # type: ignore[no-any-return]


def test_the_model_states_its_options(folder: Path) -> None:
    stated = options_of(compiled(folder, opset=18))
    assert (stated["opset"], stated["simplify"]) == (18, False)
    assert stated["embedding_collection"] == [
        {"tables": ["user"], "bottoms": ["keys"], "combiners": ["sum"], "top": "vec", "batch_major": True}
    ]


def test_the_manifest_has_checksums_of_all_sources_but_tables(folder: Path) -> None:
    compiled(folder).save(folder / "m.onnx", manifest=True)
    entry = json.loads((folder / "manifest.json").read_text())["models"]["m.onnx"]
    names = ("graph.json", "dense.model", "ec.json")
    sizes = {name: (folder / name).stat().st_size for name in names}
    assert entry["sources"] == {**sizes, "embedding_collection_0/key0": 144, "embedding_collection_0/weight0": 144}
    assert entry["sources_sha256"] == {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}


def test_a_source_that_has_changed_since_has_no_checksum(folder: Path) -> None:
    model = compiled(folder)
    (folder / "graph.json").write_text("{}")
    assert sorted(model.facts()["sources_sha256"]) == ["dense.model", "ec.json"]


def test_a_saved_model_verifies_against_its_sources(folder: Path) -> None:
    compiled(folder).save(folder / "m.onnx", manifest=True)
    assert verify_with_lookups(folder).parity.batches


def verify_with_lookups(folder: Path) -> Any:
    from hugectr2onnx.options import Options

    options = Options(embedding_collection=folder / "ec.json")
    return verify(folder / "m.onnx", folder / "graph.json", {"dense": folder / "dense.model"}, options=options)


@pytest.mark.parametrize(
    "name", ["ec.json", "dump/embedding_collection_0/meta_data", "dump/embedding_collection_0/key0"]
)
def test_no_file_of_a_collection_is_overwritten(folder: Path, name: str) -> None:
    before = (folder / name).read_bytes()
    with pytest.raises(hugectr2onnx.OutputError, match="it is an input"):
        compiled(folder).save(folder / name)
    assert (folder / name).read_bytes() == before


def test_saving_says_what_was_written(folder: Path) -> None:
    records = compiled(folder, keys="indices").save(folder / "m.onnx")
    assert [without_id(record.name) for record in records] == ["m.onnx", "m.onnx.ID.keys.keys"]
    assert [(folder / record.name).stat().st_size for record in records] == [record.bytes for record in records]


def test_key_map_and_manifest_entry_go_with_the_model_they_belong_to(folder: Path) -> None:
    before = set(os.listdir(folder))
    compiled(folder, keys="indices").save(folder / "m.onnx", manifest=True)
    assert added(folder, before) == ["m.onnx", "m.onnx.ID.keys.keys", "manifest.json"]
    compiled(folder).save(folder / "m.onnx")
    hugectr2onnx.clean_folder(folder)
    assert added(folder, before) == ["m.onnx"]


def test_a_model_names_its_key_map(folder: Path) -> None:
    compiled(folder, keys="indices").save(folder / "m.onnx")
    assert hugectr2onnx.KeyMapper.open(folder / "m.onnx").rows([9, 7, 8]).tolist() == [1, 0, 2]


@pytest.mark.skipif(os.name != "posix", reason="links")
def test_through_a_link_everything_lies_where_it_points(folder: Path) -> None:
    (folder / "real").mkdir()
    (folder / "link.onnx").symlink_to("real/m.onnx")
    compiled(folder, keys="indices").save(folder / "link.onnx", external=True, manifest=True)
    assert added(folder / "real", set()) == ["m.onnx", "m.onnx.ID.data", "m.onnx.ID.keys.keys", "manifest.json"]
    assert sessions.open_session(folder / "link.onnx").get_inputs()


def test_data_files_were_asked_for_and_are_written_at_any_size(folder: Path) -> None:
    records = compiled(folder).save(folder / "m.onnx", external=True)
    assert [without_id(record.name) for record in records] == ["m.onnx.ID.data", "m.onnx"]


def added(folder: Path, before: set[str]) -> list[str]:
    """What a user sees: hidden records are left out."""
    return sorted(without_id(name) for name in set(os.listdir(folder)) - before if not name.startswith("."))


def without_id(name: str) -> str:
    return re.sub(r"\.[0-9a-f]{16}\.", ".ID.", name)


class TestSourceFiles:
    def test_a_path_with_a_column_is_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "k::c").write_bytes(b"")
        kept = {
            "a": tmp_path / "k.parquet::c",
            "b": str(tmp_path / "k::c"),
            "c": np.array([1]),
            "d": ["e.npy", "f.npy"],
        }
        found = source_files({}, {}, None, kept)
        assert [source.path.name for source in found] == ["k.parquet", "k::c", "e.npy", "f.npy"]

    def test_what_has_become_shorter(self, tmp_path: Path) -> None:
        path = tmp_path / "table"
        path.write_bytes(b"1234")
        source = SourceFile.of(path)
        assert not source.is_shorter
        path.write_bytes(b"123")
        assert source.is_shorter
        path.unlink()
        assert source.is_shorter

    @pytest.mark.parametrize("path", [5, None, "no/such/place", "a\0b"])
    def test_a_dump_that_is_none(self, path: object) -> None:
        assert source_files({}, {}, {"path": path}, {}) == ()
