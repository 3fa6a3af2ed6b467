"""Models on disk: one file, or a model with aligned tables beside it."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import itertools
import json
import os
import re
import shutil
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from hugectr2onnx.backend.onnx.artifact import Artifact, Blob, external_tensor
from hugectr2onnx.backend.saving import folder_lock
from hugectr2onnx.backend.saving.folder import clean_folder
from hugectr2onnx.backend.saving.key_file import KeyFile
from hugectr2onnx.backend.saving.manifest import Manifest
from hugectr2onnx.backend.saving.model_file import ModelFile
from hugectr2onnx.backend.saving.save import save
from hugectr2onnx.errors import OutputError, WeightsError
from hugectr2onnx.frontend.weights.mapped_file import map_file
from hugectr2onnx.tables.gathered import Converted, Gathered, TensorData
from hugectr2onnx.tables.row_format import FP16

LARGE = np.arange(3000, dtype=np.float32).reshape(1000, 3)
SMALL = np.arange(30, dtype=np.float32).reshape(10, 3)
ZERO_ROW = np.zeros((1, 3), np.float32)
KEYS = np.array([0, 9, 3], np.int64)


def two_tables() -> Artifact:
    blobs = {"one": Blob((LARGE, ZERO_ROW)), "two": Blob((LARGE * 2,)), "three": Blob((SMALL,))}
    nodes = [helper.make_node("Gather", [name, "keys"], [f"{name}_rows"], name=name) for name in blobs]
    nodes.append(helper.make_node("Sum", [f"{name}_rows" for name in blobs], ["sum"], name="add"))
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("keys", TensorProto.INT64, ["N"])],
        [helper.make_tensor_value_info("sum", TensorProto.FLOAT, ["N", 3])],
        [external_tensor(name, blob) for name, blob in blobs.items()],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, producer_name="hugectr2onnx"
    )
    return Artifact(model, blobs)


def one_table(part: TensorData) -> Artifact:
    """%rows = gather(%table, %keys)"""
    table = Blob((part,))
    kind = helper.np_dtype_to_tensor_dtype(table.dtype)
    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", "keys"], ["rows"])],
        "g",
        [helper.make_tensor_value_info("keys", TensorProto.INT64, ["N"])],
        [helper.make_tensor_value_info("rows", kind, ["N", 3])],
        [external_tensor("table", table)],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, producer_name="hugectr2onnx"
    )
    return Artifact(model, {"table": table})


EXPECTED = LARGE[KEYS] * 3 + SMALL[KEYS]


def run_file(path: Path) -> np.ndarray:
    from hugectr2onnx.backend.runtime.sessions import open_session

    return open_session(path).run(None, {"keys": KEYS})[0]


def save_pair(path: Path) -> None:
    save(two_tables(), path, threshold=1000, limit=4000)


def visible(folder: Path) -> list[str]:
    """The files that a user sees, the id of their content left out; records are hidden."""
    return sorted(re.sub(r"\.[0-9a-f]{16}\.", ".ID.", name) for name in os.listdir(folder) if not name.startswith("."))


def data_file(folder: Path) -> Path:
    (found,) = folder.glob("a.onnx.*.data")
    return found


def test_a_model_that_fits_is_one_file(tmp_path: Path) -> None:
    save(two_tables(), tmp_path / "a.onnx")
    assert os.listdir(tmp_path) == ["a.onnx"]
    onnx.checker.check_model(tmp_path / "a.onnx", full_check=True)
    np.testing.assert_array_equal(run_file(tmp_path / "a.onnx"), EXPECTED)


def test_a_larger_model_is_a_pair(tmp_path: Path) -> None:
    save_pair(tmp_path / "a.onnx")
    assert visible(tmp_path) == ["a.onnx", "a.onnx.ID.data"]
    onnx.checker.check_model(tmp_path / "a.onnx", full_check=True)
    np.testing.assert_array_equal(run_file(tmp_path / "a.onnx"), EXPECTED)


def test_large_tensors_are_aligned_and_the_file_ends_with_the_last(tmp_path: Path) -> None:
    save_pair(tmp_path / "a.onnx")
    model = onnx.load(tmp_path / "a.onnx", load_external_data=False)
    one, two, three = model.graph.initializer
    place = {t.name: {entry.key: entry.value for entry in t.external_data} for t in (one, two)}
    name = data_file(tmp_path).name
    assert place["one"] == {"location": name, "offset": "0", "length": "12012"}
    assert place["two"] == {"location": name, "offset": "12288", "length": "12000"}
    assert data_file(tmp_path).stat().st_size == 12288 + 12000
    np.testing.assert_array_equal(numpy_helper.to_array(three), SMALL)


def test_the_pair_can_be_moved_to_another_folder(tmp_path: Path) -> None:
    (tmp_path / "before").mkdir()
    save_pair(tmp_path / "before" / "a.onnx")
    (tmp_path / "before").rename(tmp_path / "after")
    np.testing.assert_array_equal(run_file(tmp_path / "after" / "a.onnx"), EXPECTED)


def test_the_same_artifact_gives_the_same_bytes(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        save_pair(tmp_path / folder / "a.onnx")
    for name in ("a.onnx", data_file(tmp_path / "one").name):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_a_relative_path_and_a_string_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save(two_tables(), "a.onnx")
    assert (tmp_path / "a.onnx").exists()


def test_the_data_of_the_model_before_stay_for_its_readers(tmp_path: Path) -> None:
    save_pair(tmp_path / "a.onnx")
    old = (tmp_path / "a.onnx").read_bytes()
    save(two_tables(), tmp_path / "a.onnx")
    (tmp_path / "as-it-was-read.onnx").write_bytes(old)
    np.testing.assert_array_equal(run_file(tmp_path / "as-it-was-read.onnx"), EXPECTED)


def test_an_inline_model_makes_the_data_before_it_removable(tmp_path: Path) -> None:
    save_pair(tmp_path / "a.onnx")
    name = data_file(tmp_path).name
    save(two_tables(), tmp_path / "a.onnx")
    assert clean_folder(tmp_path) == (name,)
    assert os.listdir(tmp_path) == ["a.onnx"]


def test_data_of_other_content_get_other_names(tmp_path: Path) -> None:
    save(one_table(LARGE), tmp_path / "a.onnx", external=True)
    before = data_file(tmp_path)
    content = before.read_bytes()
    save(one_table(LARGE * 2), tmp_path / "a.onnx", external=True)
    assert len(list(tmp_path.glob("a.onnx.*.data"))) == 2
    assert before.read_bytes() == content


def test_data_of_the_same_content_are_not_written_again(tmp_path: Path) -> None:
    save_pair(tmp_path / "a.onnx")
    before = data_file(tmp_path).stat()
    save_pair(tmp_path / "a.onnx")
    after = data_file(tmp_path).stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


@pytest.mark.parametrize("checksums", [True, False])
def test_a_foreign_file_of_the_name_makes_the_data_take_another(tmp_path: Path, checksums: bool) -> None:
    save(two_tables(), tmp_path / "a.onnx", external=True, checksums=checksums)
    taken = data_file(tmp_path)
    for path in list(tmp_path.iterdir()):
        path.unlink()
    taken.write_bytes(b"precious")
    save(two_tables(), tmp_path / "a.onnx", external=True, checksums=checksums)
    assert taken.read_bytes() == b"precious"
    np.testing.assert_array_equal(run_file(tmp_path / "a.onnx"), EXPECTED)


def test_data_that_were_damaged_are_written_under_another_name(tmp_path: Path) -> None:
    save_pair(tmp_path / "a.onnx")
    with open(data_file(tmp_path), "r+b") as file:
        file.write(b"damage")
    save_pair(tmp_path / "a.onnx")
    np.testing.assert_array_equal(run_file(tmp_path / "a.onnx"), EXPECTED)


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x08\x08\x12\x05other"])
def test_a_file_that_is_not_a_model_of_ours_is_replaced_only_with_force(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.onnx").write_bytes(content)
    with pytest.raises(
        OutputError, match=r"a\.onnx: it is there already and not a file of ours; .* --force \(force=True\)"
    ):
        save_pair(tmp_path / "a.onnx")
    assert os.listdir(tmp_path) == ["a.onnx"]
    assert (tmp_path / "a.onnx").read_bytes() == content
    save(two_tables(), tmp_path / "a.onnx", force=True)
    np.testing.assert_array_equal(run_file(tmp_path / "a.onnx"), EXPECTED)


def test_a_pair_replaces_a_pair_and_an_inline_model(tmp_path: Path) -> None:
    save(two_tables(), tmp_path / "a.onnx")
    save_pair(tmp_path / "a.onnx")
    save_pair(tmp_path / "a.onnx")
    assert visible(tmp_path) == ["a.onnx", "a.onnx.ID.data"]
    np.testing.assert_array_equal(run_file(tmp_path / "a.onnx"), EXPECTED)


@pytest.mark.parametrize("limit", [4000, 1 << 30])
def test_a_disk_without_room_is_named_before_anything_is_written(
    tmp_path: Path, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=10_000))
    with pytest.raises(OutputError, match=r"needs \d\d,\d{3} bytes and the disk has 10,000 left; free space"):
        save(two_tables(), tmp_path / "a.onnx", threshold=1000, limit=limit)
    assert os.listdir(tmp_path) == []


def test_a_model_too_large_even_without_its_tables(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="holds at most 100"):
        save(two_tables(), tmp_path / "a.onnx", threshold=1000, limit=100, message=100)
    assert os.listdir(tmp_path) == []


def test_a_failure_half_way_leaves_the_old_pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_pair(tmp_path / "a.onnx")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    real = ModelFile.append

    def fail(file: ModelFile, piece: bytes | Blob) -> None:
        real(file, b"some of it")
        raise KeyboardInterrupt

    artifact = two_tables()
    monkeypatch.setattr(ModelFile, "append", fail)
    with pytest.raises(KeyboardInterrupt):
        save(artifact, tmp_path / "a.onnx", threshold=1000, limit=4000)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_folder_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="create the folder first"):
        save(two_tables(), tmp_path / "missing" / "a.onnx")


@pytest.mark.skipif(os.name != "posix", reason="symbolic links")
def test_a_pair_behind_a_symbolic_link_lies_together(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link.onnx").symlink_to(tmp_path / "real" / "a.onnx")
    save_pair(tmp_path / "link.onnx")
    assert visible(tmp_path / "real") == ["a.onnx", "a.onnx.ID.data"]
    np.testing.assert_array_equal(run_file(tmp_path / "link.onnx"), EXPECTED)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="/dev/full is Linux's")
def test_the_disk_that_is_always_full_is_not_a_regular_file() -> None:
    with pytest.raises(OutputError, match="/dev/full: it is not a regular file; choose another path"):
        save(two_tables(), "/dev/full")


def test_shards_hold_whole_tensors(tmp_path: Path) -> None:
    save(two_tables(), tmp_path / "a.onnx", shard_size=12_500)
    assert visible(tmp_path) == ["a.onnx", *(f"a.onnx.ID.data-0000{number}-of-00002" for number in (1, 2))]
    model = onnx.load(tmp_path / "a.onnx", load_external_data=False)
    places = [{entry.key: entry.value for entry in tensor.external_data} for tensor in model.graph.initializer]
    assert [(place["location"][-20:], place["offset"]) for place in places] == [
        (".data-00001-of-00002", "0"),
        (".data-00002-of-00002", "0"),
        (".data-00002-of-00002", "12288"),
    ]
    np.testing.assert_array_equal(run_file(tmp_path / "a.onnx"), EXPECTED)


def test_fewer_shards_take_the_place_of_more(tmp_path: Path) -> None:
    save(two_tables(), tmp_path / "a.onnx", shard_size=1)
    assert len(visible(tmp_path)) == 4
    (tmp_path / "a.onnx.data-00009-of-00009").write_bytes(b"somebody's")
    save_pair(tmp_path / "a.onnx")
    clean_folder(tmp_path)
    assert visible(tmp_path) == ["a.onnx", "a.onnx.ID.data", "a.onnx.data-00009-of-00009"]


@pytest.mark.parametrize("options", [{"external": True}, {"shard_size": 10_000}])
def test_small_tensors_go_beside_the_model_where_that_was_asked_for(tmp_path: Path, options: dict[str, Any]) -> None:
    weights = np.arange(300, dtype=np.float32).reshape(100, 3)
    artifact = one_table(weights)
    inline = Artifact(artifact.inline(), {})
    save(inline, tmp_path / "a.onnx", **options)
    assert visible(tmp_path) == ["a.onnx", "a.onnx.ID.data"]
    np.testing.assert_array_equal(run_file(tmp_path / "a.onnx"), weights[KEYS])


def test_a_shard_size_of_nothing(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="shard_size is 0"):
        save(two_tables(), tmp_path / "a.onnx", shard_size=0)


def test_the_records_hold_sizes_and_checksums(tmp_path: Path) -> None:
    records = save(two_tables(), tmp_path / "a.onnx", threshold=1000, limit=4000)
    assert [record.name for record in records] == [data_file(tmp_path).name, "a.onnx"]
    for record in records:
        content = (tmp_path / record.name).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (record.bytes, record.sha256)


def test_progress_counts_bytes_up_to_all(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    save(two_tables(), tmp_path / "a.onnx", progress=lambda done, total: calls.append((done, total)))
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)
    assert calls[-1][0] == calls[-1][1]
    assert len({total for _, total in calls}) == 1


def test_a_callback_that_stops_the_save_leaves_nothing(tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        save(two_tables(), tmp_path / "a.onnx", threshold=1000, limit=4000, progress=stop)
    assert os.listdir(tmp_path) == []


def test_room_is_set_aside_before_a_table_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int, offset: int, size: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", refuse, raising=False)
    with pytest.raises(OutputError, match="free space on the disk"):
        save_pair(tmp_path / "a.onnx")
    assert os.listdir(tmp_path) == []


def test_a_file_system_that_sets_no_room_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int, offset: int, size: int) -> None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr(os, "posix_fallocate", refuse, raising=False)
    save_pair(tmp_path / "a.onnx")
    np.testing.assert_array_equal(run_file(tmp_path / "a.onnx"), EXPECTED)


def test_a_table_in_another_order_within_the_model_file_and_beside_it(tmp_path: Path) -> None:
    """Two megabytes, so that threads put it in order; rows that are converted go the same way."""
    table = np.random.default_rng(0).random((180_000, 3), np.float32)
    order = np.random.default_rng(1).permutation(len(table)).astype(np.int32)
    for part, expected in (
        (Gathered(table, order), table[order]),
        (Converted(table, FP16), table.astype(np.float16)),
        (Gathered(table, order, 0.0, FP16), table[order].astype(np.float16)),
    ):
        for limit in (0, 1 << 30):
            records = save(one_table(part), tmp_path / "a.onnx", limit=limit, checksums=True)
            np.testing.assert_array_equal(run_file(tmp_path / "a.onnx"), expected[KEYS])
            for record in records:
                assert hashlib.sha256((tmp_path / record.name).read_bytes()).hexdigest() == record.sha256
            stored = onnx.load(tmp_path / "a.onnx").graph.initializer[0]
            np.testing.assert_array_equal(numpy_helper.to_array(stored), expected)


def test_without_checksums(tmp_path: Path) -> None:
    records = save(two_tables(), tmp_path / "a.onnx", threshold=1000, limit=4000, checksums=False)
    assert [record.sha256 for record in records] == ["", ""]


class TestKeyMaps:
    """A model whose inputs are rows, with a key map and a manifest: all files or none."""

    NAMES = ["a.onnx", "a.onnx.ID.data", "a.onnx.ID.one.keys", "manifest.json"]

    @staticmethod
    def save(path: Path, *inputs: str, offsets: tuple[int, ...] = (), **options: Any) -> None:
        maps = [KeyFile(name, name, np.arange(20), offsets) for name in inputs]
        options = {"limit": 4000, "facts": dict, **options}
        save(two_tables(), path, threshold=1000, key_files=maps, **options)

    @pytest.mark.parametrize("call", ["open", "write", "pwrite", "fsync", "replace"])
    def test_a_full_disk_leaves_all_old_files(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
        """Whichever of the calls fails, up to the one that replaces the model."""
        self.save(tmp_path / "a.onnx", "one")
        before = without_records(files_of(tmp_path))
        assert visible(tmp_path) == self.NAMES
        for number in itertools.count(1):
            with monkeypatch.context() as patch:
                fails = fail_at(patch, call, number)
                try:
                    self.save(tmp_path / "a.onnx", "one", "two", offsets=(0, 5))
                except OutputError as error:
                    if "is complete, but its manifest could not be written" in str(error):
                        break
                    assert "No space left on device; free space" in str(error)
                else:
                    break
            assert fails()
            assert without_records(files_of(tmp_path)) == before
        assert number > 1

    def test_the_room_for_the_maps_is_asked_for_before(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=60_000))
        self.save(tmp_path / "a.onnx")
        before = sorted(os.listdir(tmp_path))
        with pytest.raises(OutputError, match="the disk has 60,000 left"):
            self.save(tmp_path / "a.onnx", *map(str, range(10)))
        assert sorted(os.listdir(tmp_path)) == before

    def test_maps_of_another_strategy_go(self, tmp_path: Path) -> None:
        self.save(tmp_path / "a.onnx", "one", "two")
        (tmp_path / "a.onnx.note.keys").write_bytes(b"somebody's")
        self.save(tmp_path / "a.onnx", "two")
        self.save(tmp_path / "a.onnx")
        clean_folder(tmp_path)
        assert visible(tmp_path) == ["a.onnx", "a.onnx.ID.data", "a.onnx.note.keys", "manifest.json"]

    @pytest.mark.parametrize("options", [{"limit": 1 << 30}, {"checksums": False}])
    def test_the_manifest_says_nothing_that_is_no_longer_true(self, tmp_path: Path, options: dict[str, Any]) -> None:
        self.save(tmp_path / "a.onnx")
        self.save(tmp_path / "b.onnx")
        for name, left in (("a.onnx", ["b.onnx"]), ("b.onnx", None)):
            self.save(tmp_path / name, **options)
            manifest = tmp_path / "manifest.json"
            assert (list(json.loads(manifest.read_text())["models"]) if manifest.exists() else None) == left

    def test_records_and_progress_count_the_maps(self, tmp_path: Path) -> None:
        calls: list[tuple[int, int]] = []
        maps = [KeyFile("one", "one", np.arange(20))]
        records = save(two_tables(), tmp_path / "a.onnx", key_files=maps, progress=lambda *call: calls.append(call))
        assert visible(tmp_path) == ["a.onnx", "a.onnx.ID.one.keys"]
        assert [(record.name[-9:], record.bytes) for record in records[1:]] == [(".one.keys", 4096 + 320 + 8)]
        assert calls[-1][0] == calls[-1][1] >= sum(record.bytes for record in records)


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def without_records(files: dict[str, bytes]) -> dict[str, bytes]:
    return {name: content for name, content in files.items() if not name.endswith(".save")}


def fail_at(monkeypatch: pytest.MonkeyPatch, name: str, number: int) -> Callable[[], bool]:
    """A disk that is full for one call of a function of `os`; tells whether there was such a call."""
    real, calls = getattr(os, name), itertools.count(1)
    failed: list[bool] = []

    def full(*given: Any, **named: Any) -> Any:
        makes = name != "open" or given[1] & os.O_CREAT
        if makes and next(calls) == number:
            failed.append(True)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(*given, **named)

    monkeypatch.setattr(os, name, full)
    return lambda: bool(failed)


@pytest.mark.parametrize("kind", ["as it is", "in another order", "converted"])
def test_a_table_that_became_shorter(tmp_path: Path, kind: str) -> None:
    """Touching what is missing would end the process."""
    (tmp_path / "table").write_bytes(bytes(12 * 5000))
    rows = map_file(tmp_path / "table", np.dtype("<f4"), "a table").reshape(5000, 3)
    part = {
        "as it is": rows,
        "in another order": Gathered(rows, np.arange(5000)[::-1]),
        "converted": Converted(rows, FP16),
    }[kind]
    artifact = one_table(part)
    os.truncate(tmp_path / "table", 4096)
    with pytest.raises(WeightsError, match=r"of 60,000 bytes .* has become shorter, 4,096 bytes"):
        save(artifact, tmp_path / "a.onnx", limit=0, threshold=0)
    assert os.listdir(tmp_path) == ["table"]


def test_a_source_is_no_target(tmp_path: Path) -> None:
    save(two_tables(), tmp_path / "a.onnx")
    before = (tmp_path / "a.onnx").read_bytes()
    with pytest.raises(OutputError, match="it is an input of this compilation"):
        save(two_tables(), tmp_path / "a.onnx", sources=[tmp_path / "a.onnx"], force=True)
    assert (tmp_path / "a.onnx").read_bytes() == before


@pytest.mark.skipif(os.name != "posix", reason="links")
@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_a_source_by_another_name_is_no_target(tmp_path: Path, link: Any) -> None:
    (tmp_path / "table").write_bytes(b"precious")
    link(tmp_path / "table", tmp_path / "a.onnx")
    with pytest.raises(OutputError, match="it is an input of this compilation"):
        save(two_tables(), tmp_path / "a.onnx", sources=[tmp_path / "table"])
    assert (tmp_path / "table").read_bytes() == b"precious"


def test_a_source_stays_even_where_nothing_refers_to_it(tmp_path: Path) -> None:
    save_pair(tmp_path / "a.onnx")
    source = data_file(tmp_path)
    (tmp_path / "a.onnx").unlink()
    save(two_tables(), tmp_path / "a.onnx", sources=[source])
    assert source.exists()


def test_two_saves_at_once_both_enter_the_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second one comes to the manifest between the first one's reading it and its new one."""
    text, second = Manifest.text, ThreadPoolExecutor(1)

    def slow(manifest: Manifest, entry: Any) -> bytes:
        found = text(manifest, entry)
        if manifest.model.name == "a.onnx":
            other.append(second.submit(save, one_table(SMALL), tmp_path / "b.onnx", checksums=True, facts=dict))
            with pytest.raises(TimeoutError):
                other[0].result(timeout=0.5)
        return found

    other: list[Future[Any]] = []
    monkeypatch.setattr(Manifest, "text", slow)
    save(one_table(SMALL), tmp_path / "a.onnx", checksums=True, facts=dict)
    other[0].result()
    assert list(json.loads((tmp_path / "manifest.json").read_text())["models"]) == ["a.onnx", "b.onnx"]


def test_a_lock_of_another_program_is_named_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_lock, "MAX_WAIT", 0.2)
    descriptor = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    written: list[int] = []
    with pytest.raises(OutputError, match=rf"process {os.getpid()} \(.+\) has held a lock on this folder for"):
        save(two_tables(), tmp_path / "a.onnx", progress=lambda done, total: written.append(done))
    os.close(descriptor)
    assert (written, os.listdir(tmp_path)) == ([], [])


def test_a_lock_that_comes_while_the_model_is_written_does_not_stop_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_lock, "MAX_WAIT", 0.2)
    descriptor = os.open(tmp_path, os.O_RDONLY)
    save(two_tables(), tmp_path / "a.onnx", progress=lambda done, total: fcntl.flock(descriptor, fcntl.LOCK_EX))
    os.close(descriptor)
    np.testing.assert_array_equal(run_file(tmp_path / "a.onnx"), EXPECTED)


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP, errno.EBADF])
def test_a_folder_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", refuse)
    save_pair(tmp_path / "a.onnx")
    save(two_tables(), tmp_path / "a.onnx")
    assert len(clean_folder(tmp_path)) == 1
    assert os.listdir(tmp_path) == ["a.onnx"]
