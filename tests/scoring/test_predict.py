"""A data set goes through a model: predictions in order, files that appear whole, metrics and comparisons."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hugectr2onnx.datasets.dataset import open_dataset
from hugectr2onnx.errors import FeedError, OutputError
from hugectr2onnx.sample_models import sample_feeds
from hugectr2onnx.scoring.predict import evaluate, predict
from hugectr2onnx.scoring.scorer import Scorer

pq = pytest.importorskip("pyarrow.parquet")
ort = pytest.importorskip("onnxruntime")


def sizes(wdl: Any) -> list[int]:
    return json.loads((wdl.data.parents[1] / "slot_size_array.json").read_text())["slot_size_array"]


def by_hand(wdl: Any) -> tuple[np.ndarray, np.ndarray]:
    """Labels and predictions as 20 lines of glue give them: the columns of all files, offsets added, one session."""
    session = ort.InferenceSession(str(wdl.onnx), providers=["CPUExecutionProvider"])
    tables = [pq.read_table(wdl.data.parent / f"gen_{n}.parquet") for n in (0, 1)]
    labels = np.concatenate([table["label"].to_numpy() for table in tables])
    dense = np.concatenate([np.stack([table[f"I{i}"].to_numpy() for i in range(1, 14)], 1) for table in tables])
    keys = np.concatenate([np.stack([table[f"C{i}"].to_numpy() for i in range(1, 29)], 1) for table in tables])
    keys = keys + np.concatenate([[0], np.cumsum(sizes(wdl))[:-1]])
    feeds = {"dense": dense, "wide_data": keys[:, :2, None], "deep_data": keys[:, 2:, None]}
    return labels, session.run(None, feeds)[0][:, 0]


def test_predictions_are_those_of_hand_written_glue(wdl: Any) -> None:
    labels, expected = by_hand(wdl)
    done = predict(wdl.onnx, wdl.data, slot_size_array=sizes(wdl), batch_size=300)
    assert done.rows == len(labels) == 1000
    np.testing.assert_array_equal(done.columns["label"], labels)
    np.testing.assert_allclose(done.columns["prediction"], expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_the_order_of_rows_does_not_depend_on_threads(threads: int, wdl: Any) -> None:
    one = predict(wdl.onnx, wdl.data, slot_size_array=sizes(wdl), batch_size=64, threads=1)
    many = predict(wdl.onnx, wdl.data, slot_size_array=sizes(wdl), batch_size=64, threads=threads)
    np.testing.assert_array_equal(one.columns["prediction"], many.columns["prediction"])


@pytest.mark.parametrize("ending", [".parquet", ".csv", ".npy", ".npz"])
def test_every_kind_of_file_holds_the_same_predictions(ending: str, wdl: Any, tmp_path: Path) -> None:
    options = {"slot_size_array": sizes(wdl), "batch_size": 300}
    expected = predict(wdl.onnx, wdl.data, **options).columns
    path = tmp_path / f"out{ending}"
    assert predict(wdl.onnx, wdl.data, path, **options).path == str(path)
    columns = read(path)
    np.testing.assert_array_equal(columns["prediction"], expected["prediction"])
    if ending != ".npy":
        np.testing.assert_array_equal(columns["label"], expected["label"])
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def read(path: Path) -> dict[str, np.ndarray]:
    if path.suffix == ".parquet":
        return {name: column.to_numpy() for name, column in zip(*_columns(path), strict=True)}
    if path.suffix == ".csv":
        names, *lines = path.read_text().splitlines()
        values = np.array([line.split(",") for line in lines]).astype(np.float32)
        return dict(zip(names.split(","), values.T, strict=True))
    loaded = np.load(path)
    return {"prediction": loaded[:, 0]} if path.suffix == ".npy" else dict(loaded)


def _columns(path: Path) -> tuple[list[str], list[Any]]:
    table = pq.read_table(path)
    return table.column_names, table.columns


def test_id_columns_pass_through(wdl: Any, tmp_path: Path) -> None:
    spec = "labels=label;dense=I1..I13;keys=C1..C28;ids=C3"
    done = predict(wdl.onnx, wdl.data, tmp_path / "a.parquet", columns=spec, slot_size_array=sizes(wdl))
    written = pq.read_table(tmp_path / "a.parquet")
    source = pq.read_table(wdl.data.parent / "gen_0.parquet")
    assert done.rows == written.num_rows
    assert written["C3"].to_pylist()[: source.num_rows] == source["C3"].to_pylist()


def test_a_file_is_not_overwritten_without_force(wdl: Any, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("mine")
    with pytest.raises(OutputError, match="exists already"):
        predict(wdl.onnx, wdl.data, tmp_path / "a.csv")
    assert (tmp_path / "a.csv").read_text() == "mine"
    predict(wdl.onnx, wdl.data, tmp_path / "a.csv", force=True)
    assert (tmp_path / "a.csv").read_text().startswith("label,prediction\n")


@pytest.mark.parametrize("ending", [".parquet", ".csv", ".npy", ".npz"])
def test_a_data_set_without_samples_gives_a_file_without_rows(ending: str, wdl: Any, tmp_path: Path) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    whole = pq.read_table(wdl.data.parent / "gen_0.parquet")
    pq.write_table(whole.slice(0, 0), tmp_path / "none.parquet")
    out = tmp_path / f"out{ending}"
    predict(wdl.onnx, tmp_path / "none.parquet", out)
    if ending == ".parquet":
        assert pq.read_table(out).equals(pa.table({"label": pa.array([], "f4"), "prediction": pa.array([], "f4")}))
    elif ending == ".csv":
        assert out.read_text() == "label,prediction\n"
    else:
        found = np.load(out)
        assert (found if ending == ".npy" else found["prediction"]).size == 0


@pytest.mark.parametrize("partial", [False, True])
def test_damaged_data_leaves_predictions_only_if_asked(partial: bool, wdl: Any, tmp_path: Path) -> None:
    shutil.copytree(wdl.data.parent, tmp_path / "val")
    dataset = open_dataset(tmp_path / "val", wdl.onnx, batch_size=100)
    (tmp_path / "val" / "gen_1.parquet").write_bytes(b"PAR1 and nothing more")
    with pytest.raises(FeedError, match=r"gen_1\.parquet"):
        predict(wdl.onnx, dataset, tmp_path / "a.npy", partial=partial)
    if partial:
        assert len(np.load(tmp_path / "a.npy")) == 500
    else:
        assert not list(tmp_path.glob("*a.npy*"))


def test_labels_of_the_planted_model_are_ranked_by_it(wdl: Any) -> None:
    scores = evaluate(wdl.onnx, wdl.data, slot_size_array=sizes(wdl))["label"]
    assert scores["auc"] > 0.75
    assert evaluate(wdl.onnx, wdl.data, ["auc"])["label"]["auc"] < scores["auc"] - 0.05  # offsets forgotten


def test_progress_counts_the_rows(wdl: Any) -> None:
    said: list[tuple[int, int | None]] = []
    predict(wdl.onnx, wdl.data, batch_size=400, progress=lambda done, total: said.append((done, total)))
    assert said == [(400, 1000), (800, 1000), (1000, 1000)]


class TestAgainst:
    @pytest.fixture
    def recorded(self, wdl: Any) -> np.ndarray:
        return predict(wdl.onnx, wdl.data, slot_size_array=sizes(wdl)).columns["prediction"]

    def compare(self, wdl: Any, path: Path, **options: Any) -> Any:
        return predict(
            wdl.onnx, wdl.data, slot_size_array=sizes(wdl), against=path, batch_size=300, **options
        ).comparison

    @pytest.mark.parametrize(
        "kind", ["flat.npy", "column.npy", "named.npz", "text.txt", "table.parquet", "sole.parquet", "own.csv"]
    )
    def test_every_form_of_a_recording(self, kind: str, wdl: Any, recorded: np.ndarray, tmp_path: Path) -> None:
        import pyarrow as pa

        path = tmp_path / kind
        {
            "flat.npy": lambda: np.save(path, recorded),
            "column.npy": lambda: np.save(path, recorded[:, None]),
            "named.npz": lambda: np.savez(path, label=recorded),
            "text.txt": lambda: path.write_text("\n".join(map(repr, recorded.tolist()))),
            "sole.parquet": lambda: pq.write_table(pa.table({"score": recorded}), path),
            "own.csv": lambda: predict(wdl.onnx, wdl.data, path, slot_size_array=sizes(wdl)),
            "table.parquet": lambda: pq.write_table(pa.table({"prediction": recorded}), path),
        }[kind]()
        found = self.compare(wdl, path)
        assert (found.passed, found.rows, found.elements) == (True, 1000, 1000)

    def test_the_first_rows_may_be_recorded_alone(self, wdl: Any, recorded: np.ndarray, tmp_path: Path) -> None:
        np.save(tmp_path / "a.npy", recorded[:450])
        assert self.compare(wdl, tmp_path / "a.npy").rows == 450

    def test_rows_that_differ_are_named(self, wdl: Any, recorded: np.ndarray, tmp_path: Path) -> None:
        recorded = recorded.copy()
        recorded[[37, 640]] += [0.2, 0.1]
        np.save(tmp_path / "a.npy", recorded)
        found = self.compare(wdl, tmp_path / "a.npy")
        assert (found.passed, found.exceeding) == (False, 2)
        assert [each.row for each in found.worst][:2] == [37, 640]
        assert found.worst[0].recorded == pytest.approx(recorded[37])

    def test_rounding_to_half_is_recognised(self, wdl: Any, recorded: np.ndarray, tmp_path: Path) -> None:
        noise = np.random.default_rng(0).normal(0, 5e-4, recorded.shape)
        np.save(tmp_path / "a.npy", recorded + noise)
        found = self.compare(wdl, tmp_path / "a.npy")
        assert found.looks_like_half
        assert "mixed precision" in found.verdict

    def test_more_recorded_rows_than_samples_is_another_data_set(
        self, wdl: Any, recorded: np.ndarray, tmp_path: Path
    ) -> None:
        np.save(tmp_path / "a.npy", np.append(recorded, recorded))
        found = self.compare(wdl, tmp_path / "a.npy")
        assert not found.passed
        assert "2000 rows were recorded and the data set has 1000" in found.verdict

    def test_a_pickle_is_not_opened(self, wdl: Any, tmp_path: Path) -> None:
        np.save(tmp_path / "a.npy", np.array([{}], object), allow_pickle=True)
        with pytest.raises(FeedError, match="holds Python objects, which are not read"):
            self.compare(wdl, tmp_path / "a.npy")


def test_a_scorer_travels_without_its_session(wdl: Any) -> None:
    scorer = Scorer(wdl.onnx)
    batch = next(iter(open_dataset(wdl.data, wdl.onnx, batch_size=5)))[0]
    here = scorer(batch)["label"]
    there = pickle.loads(pickle.dumps(scorer))
    assert there._session is None
    np.testing.assert_array_equal(there(batch)["label"], here)


def test_a_scorer_of_something_else_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="a Scorer takes the path of an ONNX file, not a int"):
        Scorer(3)  # type: ignore[arg-type]


def test_the_first_samples_are_compared_with_the_first_recorded_ones(wdl: Any, tmp_path: Path) -> None:
    predict(wdl.onnx, wdl.data, tmp_path / "all.npy")
    found = predict(wdl.onnx, wdl.data, against=tmp_path / "all.npy", limit=10)
    assert found.comparison is not None and found.comparison.passed and found.comparison.rows == 10


def test_metrics_of_data_without_labels_are_said_to_be_missing(wdl: Any) -> None:
    feeds = sample_feeds(wdl.sample, 8)
    assert predict(wdl.onnx, [feeds], metrics=["auc"]).warnings == ("a list: holds no labels, which auc need",)
