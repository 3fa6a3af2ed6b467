"""Dense files and tables that are missing, of another size or kind, or that lie where they cannot be read."""

from __future__ import annotations

import errno
import os
import re
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hugectr2onnx.errors import WeightsError

DENSE = "model_dense_0.model"
DISTRIBUTED = "model0_sparse_0.model"
LOCALIZED = "model1_sparse_0.model"
FILES = [
    DENSE,
    *(f"{DISTRIBUTED}/{name}" for name in ("key", "emb_vector")),
    *(f"{LOCALIZED}/{name}" for name in ("key", "slot_id", "emb_vector")),
]
needs_posix = pytest.mark.skipif(os.name != "posix", reason="special files are POSIX's")


def weights(model: Any) -> dict[str, Any]:
    return {"dense": model.path(DENSE), "sparse": [model.path(DISTRIBUTED), model.path(LOCALIZED)]}


@pytest.mark.parametrize("name", [name for name in FILES if not name.endswith("slot_id")])
def test_a_missing_file(model: Any, name: str) -> None:
    model.path(name).unlink()
    assert os.path.basename(name) in model.refusal(weights=weights(model))


def test_missing_slot_ids_matter_only_for_keys_that_repeat(model: Any) -> None:
    model.path(f"{LOCALIZED}/slot_id").unlink()
    assert list(model.compile().run(model.feeds())) == ["label"]
    model.write(f"{LOCALIZED}/key", np.array([7, 7, 5], "<i8"))
    assert "has no slot_id file, which tells on which GPU a row was" in model.refusal()


@pytest.mark.parametrize("name", FILES)
def test_an_empty_file(model: Any, name: str) -> None:
    model.write(name, b"")
    assert model.folder.name in model.refusal()


@pytest.mark.parametrize("change", [-1, -4, -8, 1, 4, 8, 4096])
@pytest.mark.parametrize("name", FILES)
def test_a_file_of_another_size(model: Any, name: str, change: int) -> None:
    content = model.path(name).read_bytes()
    model.write(name, content[:change] if change < 0 else content + bytes(change))
    message = model.refusal()
    assert os.path.dirname(name) in message
    assert "bytes" in message or "entries" in message


def test_how_many_bytes_are_missing_is_said(model: Any) -> None:
    model.write(DENSE, np.zeros(39, "<f4"))
    message = model.refusal()
    assert "layers[7] InnerProduct bn -> fc1, bias needs 1 floats" in message
    assert "0 of 156 bytes are left" in message


def test_how_many_bytes_are_too_many_is_said(model: Any) -> None:
    model.write(DENSE, np.zeros(41, "<f4"))
    assert "4 bytes (1 floats) are left over" in model.refusal()


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_random_bytes_of_the_right_size(
    model: Any, survives: Callable[[Callable[[], object]], bool], name: str, seed: int
) -> None:
    size = model.path(name).stat().st_size
    model.write(name, np.random.default_rng(seed).bytes(size))
    assert survives(lambda: model.compile(2).run(model.feeds()))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", [DENSE, f"{DISTRIBUTED}/emb_vector"])
def test_numbers_that_are_not_finite_give_a_warning_and_a_model(model: Any, name: str, value: float) -> None:
    floats = np.frombuffer(model.path(name).read_bytes(), "<f4").copy()
    floats[-1] = value
    model.write(name, floats)
    compiled = model.compile(2)
    assert any("NaN or infinite" in warning for warning in compiled.report.warnings)
    assert compiled.run(model.feeds())["label"].shape == (4, 1)


def test_a_gru_with_a_weight_that_is_no_number(model: Any) -> None:
    """onnxruntime's GRU clamps NaN, so its answer would be a number where the reference has none."""
    gru = {"num_output": 1, "batchsize": 1, "SeqLength": 1, "vector_size": 13}
    model.layers.insert(7, {"type": "GRU", "bottom": "bn", "top": "gru", "gru_param": gru})
    model.layer("fc1")["bottom"] = "gru"
    floats = np.zeros(26 + 39 + 3 + 3 + 1 + 2, "<f4")
    floats[26] = np.nan
    model.write(DENSE, floats)
    assert "weights of this GRU hold NaN or infinite numbers" in model.refusal()


@pytest.mark.parametrize("value", [3.4e38, -3.4e38, 1e-45, 1e30])
@pytest.mark.parametrize("name", [DENSE, f"{DISTRIBUTED}/emb_vector", f"{LOCALIZED}/emb_vector"])
def test_numbers_at_the_ends_of_float32_give_a_model_or_are_named(model: Any, name: str, value: float) -> None:
    """Where float32 overflows, HugeCTR's own predictions are undefined, and no model can be proven."""
    size = model.path(name).stat().st_size // 4
    model.write(name, np.full(size, value, "<f4"))
    try:
        assert list(model.compile(2).run(model.feeds())) == ["label"]
    except WeightsError as error:
        assert abs(value) > 1
        assert re.search(
            r"hold numbers up to (3\.4e\+38|1e\+30), and sums and products of such numbers overflow", str(error)
        )


def test_tables_in_the_other_order(model: Any) -> None:
    given = weights(model)
    given["sparse"].reverse()
    assert "belongs to another table: 3 keys and embedding_vec_size=4 need 4*4*3 = 48 bytes" in model.refusal(
        weights=given
    )


def test_key_and_vector_in_the_place_of_the_other(model: Any) -> None:
    table = model.path(DISTRIBUTED)
    (table / "key").rename(table / "x")
    (table / "emb_vector").rename(table / "key")
    (table / "x").rename(table / "emb_vector")
    assert "belongs to another table" in model.refusal()


def test_a_table_where_the_dense_file_should_be(model: Any) -> None:
    assert "is a folder" in model.refusal(weights={**weights(model), "dense": model.path(DISTRIBUTED)})


def test_the_dense_file_where_a_table_should_be(model: Any) -> None:
    model.write("other.model", np.zeros(41, "<f4"))
    given = {"dense": model.path(DENSE), "sparse": [model.path("other.model"), model.path(LOCALIZED)]}
    assert "other.model: has 164 bytes, no multiple of a record" in model.refusal(weights=given)


def test_a_folder_where_a_file_of_a_table_should_be(model: Any) -> None:
    model.path(f"{DISTRIBUTED}/key").unlink()
    model.path(f"{DISTRIBUTED}/key").mkdir()
    assert "key: is a folder, expected a file" in model.refusal()


def test_an_empty_table_is_legal(model: Any) -> None:
    for name in ("key", "slot_id", "emb_vector"):
        model.write(f"{LOCALIZED}/{name}", b"")
    assert list(model.compile(2).run(model.feeds())) == ["label"]


def test_a_key_that_stands_twice_under_one_slot(model: Any) -> None:
    model.write(f"{LOCALIZED}/key", np.array([7, 7, 5], "<i8"))
    assert "twice" in model.refusal()


@pytest.mark.parametrize("slots", [[-1, 0, 0], [2**62, 0, 1], [-(2**63), 2**63 - 1, 0]])
@pytest.mark.parametrize("keys", [[7, 7, 5], [7, 1, 5]])
def test_slot_ids_that_no_table_has(model: Any, keys: list[int], slots: list[int]) -> None:
    model.write(f"{LOCALIZED}/key", np.array(keys, "<i8"))
    model.write(f"{LOCALIZED}/slot_id", np.array(slots, "<i8"))
    assert "is slot_id swapped with key" in model.refusal()


def test_keys_in_the_place_of_slot_ids(model: Any) -> None:
    model.write(f"{LOCALIZED}/slot_id", np.array([7, 1, 5], "<i8"))
    model.write(f"{LOCALIZED}/key", np.array([0, 0, 0], "<i8"))
    assert "its slot_id file holds 7, and the layer's slots are 0 to 0: is slot_id swapped with key" in model.refusal()


class TestPlaces:
    """Where a file should be, there is something else. Nothing may block, and nothing special may be read."""

    PLACES = (DENSE, DISTRIBUTED, f"{DISTRIBUTED}/key", f"{LOCALIZED}/slot_id", f"{LOCALIZED}/emb_vector")

    @staticmethod
    def clear(path: Path) -> Path:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        return path

    @needs_posix
    @pytest.mark.parametrize("name", PLACES)
    def test_a_pipe_that_nobody_writes(self, model: Any, name: str) -> None:
        os.mkfifo(self.clear(model.path(name)))
        assert "is not a regular file" in model.refusal(weights=weights(model))

    @needs_posix
    @pytest.mark.parametrize("name", PLACES)
    def test_a_device(self, model: Any, name: str) -> None:
        self.clear(model.path(name)).symlink_to("/dev/zero")
        assert "is not a regular file" in model.refusal(weights=weights(model))

    @needs_posix
    @pytest.mark.parametrize("name", PLACES)
    def test_a_socket(self, model: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(self.clear(model.path(name)).parent)  # the path of a socket is at most 107 bytes
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(os.path.basename(name))
            assert "is not a regular file" in model.refusal(weights=weights(model))

    @needs_posix
    @pytest.mark.parametrize("name", PLACES)
    def test_a_link_to_itself(self, model: Any, name: str) -> None:
        path = self.clear(model.path(name))
        path.symlink_to(path.name)
        assert "symbolic links" in model.refusal(weights=weights(model))

    @needs_posix
    @pytest.mark.parametrize("name", [DENSE, DISTRIBUTED, f"{DISTRIBUTED}/key"])
    def test_a_link_to_nothing(self, model: Any, name: str) -> None:
        self.clear(model.path(name)).symlink_to("nowhere")
        assert "no such file" in model.refusal(weights=weights(model))

    @needs_posix
    def test_the_folder_is_a_pipe(self, model: Any, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")
        model.refusal(weights=tmp_path / "pipe")

    @needs_posix
    def test_the_graph_is_a_pipe(self, model: Any, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "graph.json")
        assert "is a pipe" in model.refusal(graph=tmp_path / "graph.json")

    @pytest.mark.parametrize("what", ["listdir", "open"])
    def test_no_permission(self, model: Any, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
        """Simulated, because root may read everything."""
        real = getattr(os, what)

        def refuse(path: Any, *rest: Any, **more: Any) -> Any:
            if str(model.folder) in str(path):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
            return real(path, *rest, **more)

        monkeypatch.setattr(os, what, refuse)
        if what == "open":
            monkeypatch.setattr("builtins.open", refuse)
        assert "cannot be" in model.refusal()

    @needs_posix
    @pytest.mark.skipif(os.name == "posix" and os.geteuid() == 0, reason="root may read everything")
    @pytest.mark.parametrize("name", ["", DISTRIBUTED, DENSE, f"{DISTRIBUTED}/key"])
    def test_really_no_permission(self, model: Any, name: str) -> None:
        path = model.path(name)
        path.chmod(0)
        try:
            assert "Permission denied" in model.refusal()
        finally:
            path.chmod(0o700)


def test_the_files_are_left_as_they_were(model: Any) -> None:
    before = {path: path.read_bytes() for path in model.folder.rglob("*") if path.is_file()}
    model.compile(2).run(model.feeds())
    model.write(DENSE, before[model.path(DENSE)][:-1])
    model.refusal()
    model.write(DENSE, before[model.path(DENSE)])
    assert {path: path.read_bytes() for path in model.folder.rglob("*") if path.is_file()} == before
