"""Which files belong to a model: given, or found in a snapshot folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from hugectr2onnx.errors import WeightsError
from hugectr2onnx.frontend.weights.snapshot import Weights, missing_table, refuse_optimizer_file, resolve


def snapshot(folder: Path, prefix: str = "wdl", iteration: int = 1000, tables: int = 2, ntp: bool = False) -> None:
    """The files that HugeCTR leaves (formats 5)."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{prefix}_dense_{iteration}.model").touch()
    (folder / f"{prefix}_opt_dense_{iteration}.model").touch()
    for index in range(tables):
        (folder / f"{prefix}{index}_sparse_{iteration}.model").mkdir()
        (folder / f"{prefix}{index}_opt_sparse_{iteration}.model").touch()
    if ntp:
        (folder / f"{prefix}_dense_{iteration}.model.ntp.json").touch()


def names(weights: Weights) -> list[str]:
    return [table.name for table in weights.tables]


class TestDiscover:
    def test_one_snapshot(self, tmp_path: Path) -> None:
        snapshot(tmp_path, ntp=True)
        found = Weights.discover(tmp_path)
        assert found.dense == tmp_path / "wdl_dense_1000.model"
        assert names(found) == ["wdl0_sparse_1000.model", "wdl1_sparse_1000.model"]
        assert found.ntp == tmp_path / "wdl_dense_1000.model.ntp.json"

    def test_no_batch_norm(self, tmp_path: Path) -> None:
        snapshot(tmp_path)
        assert Weights.discover(tmp_path).ntp is None

    def test_the_last_iteration_by_number_not_by_name(self, tmp_path: Path) -> None:
        snapshot(tmp_path, iteration=9000)
        snapshot(tmp_path, iteration=10000)
        assert Weights.discover(tmp_path).dense == tmp_path / "wdl_dense_10000.model"

    def test_an_iteration_of_choice(self, tmp_path: Path) -> None:
        snapshot(tmp_path, iteration=1000)
        snapshot(tmp_path, iteration=2000)
        found = Weights.discover(tmp_path, iteration=1000)
        assert names(found) == ["wdl0_sparse_1000.model", "wdl1_sparse_1000.model"]

    def test_eleven_tables_are_in_the_order_of_numbers(self, tmp_path: Path) -> None:
        snapshot(tmp_path, tables=11)
        assert names(Weights.discover(tmp_path))[-2:] == ["wdl9_sparse_1000.model", "wdl10_sparse_1000.model"]

    @pytest.mark.parametrize("prefix", ["", "model2", "a.b-c", "my_dense"])
    def test_strange_prefixes(self, tmp_path: Path, prefix: str) -> None:
        snapshot(tmp_path, prefix)
        assert len(Weights.discover(tmp_path).tables) == 2

    def test_several_prefixes_are_listed(self, tmp_path: Path) -> None:
        snapshot(tmp_path, "wdl")
        snapshot(tmp_path, "dcn")
        with pytest.raises(WeightsError, match='2 models, with the prefixes "dcn", "wdl"; choose one with'):
            Weights.discover(tmp_path)

    def test_a_prefix_of_choice(self, tmp_path: Path) -> None:
        snapshot(tmp_path, "wdl")
        snapshot(tmp_path, "dcn", tables=1)
        assert names(Weights.discover(tmp_path, "dcn")) == ["dcn0_sparse_1000.model"]

    def test_a_prefix_with_a_folder(self, tmp_path: Path) -> None:
        snapshot(tmp_path / "snapshots")
        assert len(Weights.discover(tmp_path, "snapshots/wdl").tables) == 2

    @pytest.mark.parametrize(("prefix", "tables"), [("model", 2), ("model2", 3)])
    def test_a_prefix_that_continues_another(self, tmp_path: Path, prefix: str, tables: int) -> None:
        snapshot(tmp_path, "model", tables=2)
        snapshot(tmp_path, "model2", tables=3)
        assert len(Weights.discover(tmp_path, prefix).tables) == tables

    def test_a_dense_file_alone(self, tmp_path: Path) -> None:
        snapshot(tmp_path, iteration=7, tables=0)
        assert Weights.discover(tmp_path).tables == ()

    def test_a_gap_in_the_tables(self, tmp_path: Path) -> None:
        snapshot(tmp_path, tables=3)
        (tmp_path / "wdl1_sparse_1000.model").rmdir()
        with pytest.raises(WeightsError, match=r"iteration 1000 is incomplete: wdl1_sparse_1000\.model is missing"):
            Weights.discover(tmp_path)

    def test_tables_of_another_iteration(self, tmp_path: Path) -> None:
        snapshot(tmp_path, iteration=1000)
        snapshot(tmp_path, iteration=2000, tables=0)
        with pytest.raises(
            WeightsError, match=r"wdl0_sparse_2000\.model is missing; whole iterations: 1000; give iter"
        ):
            Weights.discover(tmp_path)

    def test_the_last_table_of_the_newest_iteration_is_missing(self, tmp_path: Path) -> None:
        snapshot(tmp_path, iteration=0)
        snapshot(tmp_path, iteration=2000, tables=1)
        with pytest.raises(
            WeightsError, match=r"wdl1_sparse_2000\.model is missing; whole iterations: 0; give iteration=0"
        ):
            Weights.discover(tmp_path)
        assert len(names(Weights.discover(tmp_path, iteration=0))) == 2

    def test_the_dense_file_of_the_newest_iteration_is_missing(self, tmp_path: Path) -> None:
        """The older iteration would be another model than the one that was meant."""
        snapshot(tmp_path, iteration=0)
        snapshot(tmp_path, iteration=2000)
        (tmp_path / "wdl_dense_2000.model").unlink()
        with pytest.raises(
            WeightsError, match=r"wdl_dense_2000\.model is missing; whole iterations: 0; give iteration=0"
        ):
            Weights.discover(tmp_path)

    def test_a_dense_file_that_is_packed(self, tmp_path: Path) -> None:
        (tmp_path / "wdl_dense_0.model.gz").write_bytes(b"\x1f\x8b\x08")
        with pytest.raises(WeightsError, match=r"wdl_dense_0\.model\.gz is gzip-compressed: unpack it first"):
            Weights.discover(tmp_path)

    def test_no_such_iteration(self, tmp_path: Path) -> None:
        snapshot(tmp_path)
        with pytest.raises(WeightsError, match=r'no "wdl_dense_5\.model"; there are the iterations 1000'):
            Weights.discover(tmp_path, iteration=5)

    def test_no_such_prefix(self, tmp_path: Path) -> None:
        snapshot(tmp_path)
        with pytest.raises(WeightsError, match=r'no dense file "dcn_dense_N\.model"'):
            Weights.discover(tmp_path, "dcn")

    def test_a_folder_without_a_model(self, tmp_path: Path) -> None:
        with pytest.raises(WeightsError, match="no dense file"):
            Weights.discover(tmp_path)

    def test_the_folder_of_a_table(self, tmp_path: Path) -> None:
        (tmp_path / "emb_vector").touch()
        with pytest.raises(WeightsError, match="It is an embedding table itself"):
            Weights.discover(tmp_path)

    def test_no_such_folder(self, tmp_path: Path) -> None:
        with pytest.raises(WeightsError, match="no such folder"):
            Weights.discover(tmp_path / "absent")

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
    def test_a_folder_without_permission(self, tmp_path: Path) -> None:
        tmp_path.chmod(0)
        with pytest.raises(WeightsError, match="Permission denied"):
            Weights.discover(tmp_path)


class TestResolve:
    def test_weights_as_they_are(self, tmp_path: Path) -> None:
        assert resolve(Weights("a", ["b", "c"], "d")) == Weights("a", ("b", "c"), "d")

    def test_the_ntp_file_beside_the_dense_file(self, tmp_path: Path) -> None:
        snapshot(tmp_path, ntp=True)
        resolved = resolve(Weights(tmp_path / "wdl_dense_1000.model"))
        assert resolved.ntp == tmp_path / "wdl_dense_1000.model.ntp.json"

    def test_a_mapping(self) -> None:
        assert resolve({"dense": "d", "sparse": ["s"], "ntp": None}) == Weights("d", ["s"])

    def test_one_table_without_a_list(self) -> None:
        assert resolve({"sparse": "s"}).tables == (Path("s"),)

    def test_a_folder(self, tmp_path: Path) -> None:
        snapshot(tmp_path)
        assert len(resolve(str(tmp_path)).tables) == 2

    def test_a_dense_file_stands_for_its_snapshot(self, tmp_path: Path) -> None:
        snapshot(tmp_path, iteration=1000)
        snapshot(tmp_path, iteration=2000)
        assert names(resolve(tmp_path / "wdl_dense_1000.model"))[0] == "wdl0_sparse_1000.model"

    def test_a_dense_file_of_any_name(self, tmp_path: Path) -> None:
        (tmp_path / "weights.bin").touch()
        assert resolve(tmp_path / "weights.bin") == Weights(tmp_path / "weights.bin")

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            (None, "the weights are null; give a snapshot folder"),
            (3, "the weights are 3"),
            (["a"], "the weights are a list of 1"),
            (b"a", "the weights are"),
            ({"dens": "a"}, "unknown key dens"),
            ({"dense": 3}, "dense is 3, expected a path"),
            ({"sparse": 3}, "sparse is 3, expected a list of paths"),
            ({"sparse": ["a", None]}, r"sparse\[1\] is null, expected a path"),
            ({"ntp": []}, "ntp is a list of 0, expected a path"),
            ({"key_bytes": 5}, "key_bytes is 5"),
            ("absent", "no such file or folder"),
            ("a\0b", "no file can be named"),
            ("x" * 5000, "cannot be read|no such file"),
        ],
    )
    def test_what_is_refused(self, given: Any, message: str) -> None:
        with pytest.raises(WeightsError, match=message):
            resolve(given)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [("wdl_opt_dense_5.model", "wdl_dense_5.model"), ("wdl0_opt_sparse_5.model", "wdl0_sparse_5.model")],
)
def test_the_state_of_an_optimizer_is_not_weights(name: str, wanted: str) -> None:
    with pytest.raises(
        WeightsError, match=f"is the state of the optimizer by its name, not the weights: give {wanted}"
    ):
        refuse_optimizer_file(Path(name))


def test_the_weights_are_no_state_of_an_optimizer() -> None:
    refuse_optimizer_file(Path("my_opt_model_dense_5.model"))


def test_the_table_that_would_come_next() -> None:
    assert missing_table(Weights("a/wdl_dense_5.model", ["t0"])) == "wdl1_sparse_5.model"
    assert missing_table(Weights("a/dense.bin")) is None
