"""AUC and log-loss by their definitions; what a budget allows; models in smaller formats on labelled samples."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hugectr2onnx
from hugectr2onnx.errors import FeedError, OptionError, UnsupportedError
from hugectr2onnx.quantization import search
from hugectr2onnx.quantization.metrics import Quality, auc, evaluate_samples, log_loss
from hugectr2onnx.quantization.search import Budget, compile_measured
from hugectr2onnx.quantization.stored_tables import FormatRefusedError, TableStorage


def test_auc_by_hand() -> None:
    """Positives 0.8 and 0.4, negatives 0.5 and 0.1: three of four pairs are in order."""
    assert auc(np.array([0.8, 0.5, 0.4, 0.1]), np.array([1, 0, 1, 0])) == 0.75


def test_ties_count_half() -> None:
    assert auc(np.array([0.5, 0.5, 0.5]), np.array([1, 0, 0])) == 0.5


@settings(deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=30))
def test_auc_is_the_share_of_pairs_in_order(samples: list[tuple[int, bool]]) -> None:
    positives = [p for p, label in samples if label]
    negatives = [p for p, label in samples if not label]
    pairs = [1.0 if p > n else 0.5 if p == n else 0.0 for p in positives for n in negatives]
    found = auc(np.array([p for p, _ in samples], np.float32), np.array([label for _, label in samples]))
    assert found == pytest.approx(np.mean(pairs)) if pairs else np.isnan(found)


def test_log_loss_by_hand() -> None:
    found = log_loss(np.array([0.8, 0.4], np.float32), np.array([1, 0]))
    assert found == pytest.approx(-(np.log(0.8) + np.log(0.6)) / 2)


def test_certainty_that_is_wrong_costs_a_bounded_amount() -> None:
    assert log_loss(np.float32([0]), np.array([1])) == pytest.approx(-np.log(2.0**-23))


def test_a_prediction_of_exactly_1_counts() -> None:
    """float32 sigmoids saturate there; it counts as 1 - 2^-23."""
    assert log_loss(np.float32([1]), np.array([0])) == pytest.approx(-np.log(2.0**-23), rel=1e-6)
    assert log_loss(np.float32([1]), np.array([1])) == pytest.approx(2.0**-23, rel=1e-6)


def test_what_is_not_defined() -> None:
    assert np.isnan(auc(np.array([0.1, 0.2]), np.array([1, 1])))
    assert np.isnan(auc(np.array([0.1, np.nan]), np.array([1, 0])))
    assert np.isnan(log_loss(np.array([1.5]), np.array([1])))


# Budgets


@pytest.mark.parametrize("text", ["auc", "auc:99.9", "auc:101%", "f1:99%", "auc:-1%", "auc:nan%", "", None, 5])
def test_budgets_that_are_none(text: Any) -> None:
    with pytest.raises(OptionError, match=r"say it as auc:99\.9% or logloss:0\.1%"):
        Budget.parse(text)


@pytest.mark.parametrize(
    ("limit", "measure", "allowed"),
    [
        ("auc:99.9%", 0.79921, True),
        ("auc:99.9%", 0.79919, False),
        ("logloss:0.1%", 0.40039, True),
        ("logloss:0.1%", 0.40041, False),
    ],
)
def test_what_a_budget_allows(limit: str, measure: float, allowed: bool) -> None:
    before = {"label": Quality("label", 10, 5, 0.8, 0.4)}
    after = Quality("label", 10, 5, measure, 0.4) if "auc" in limit else Quality("label", 10, 5, 0.8, measure)
    assert Budget.parse(limit).allows(before, {"label": after}) is allowed


# Models: label = sigmoid(5 * row . (1, 1, 1, 1, 1)), so that rounding decides the order of near rows


@pytest.fixture
def model(tmp_path: Path) -> tuple[Path, Path]:
    """Each row sums to a small number, its first numbers to zero: int8 rounds most of it away."""
    sparse = [{"top": "keys", "slot_num": 1, "nnz_per_slot": [1], "is_fixed_length": True}]
    layers = [
        {
            "type": "Data",
            "label": {"top": "label", "label_dim": 1},
            "dense": {"top": "dense", "dense_dim": 0},
            "sparse": sparse,
        },
        {
            "type": "DistributedSlotSparseEmbeddingHash",
            "bottom": "keys",
            "top": "emb",
            "sparse_embedding_hparam": {"embedding_vec_size": 5, "combiner": "sum"},
        },
        {"type": "Reshape", "bottom": "emb", "top": "flat", "leading_dim": 5},
        {"type": "InnerProduct", "bottom": "flat", "top": "fc", "fc_param": {"num_output": 1}},
        {"type": "BinaryCrossEntropyLoss", "bottom": ["fc", "label"], "top": "loss"},
    ]
    rows = np.zeros((64, 5), np.float32)
    rows[:, 0], rows[:, 1], rows[:, 2] = 1, -1, np.linspace(-0.1, 0.1, 64)
    (tmp_path / "m.json").write_text(json.dumps({"layers": layers}))
    np.array([5] * 5 + [0], "<f4").tofile(tmp_path / "m_dense_0.model")
    table = tmp_path / "m0_sparse_0.model"
    table.mkdir()
    np.arange(64, dtype="<i8").tofile(table / "key")
    rows.astype("<f4").tofile(table / "emb_vector")
    return tmp_path / "m.json", tmp_path


def samples() -> dict[str, np.ndarray]:
    """The labels are in order but for ties that int8 makes of several rows."""
    return {"keys": np.arange(64).reshape(-1, 1, 1), "label": (np.arange(64) >= 34).astype(np.float32)}


def test_quality_of_a_model(model: tuple[Path, Path], tmp_path: Path) -> None:
    compiled = hugectr2onnx.compile(*model, simplify=False)
    np.savez(tmp_path / "s.npz", **samples())
    logits = 5 * np.linspace(-0.1, 0.1, 64)
    p = 1 / (1 + np.exp(-logits))
    expected = -np.mean(np.where(np.arange(64) >= 34, np.log(p), np.log(1 - p)))
    for source in (samples(), tmp_path / "s.npz"):
        found = evaluate_samples(compiled, source, batch=10)["label"]
        assert (found.samples, found.positives, found.auc) == (64, 30, 1.0)
        assert found.log_loss == pytest.approx(expected, rel=1e-5)


def test_before_and_after(model: tuple[Path, Path]) -> None:
    """With steps of 1/127 rows 33, 34 and 35 become one: of 34 * 30 pairs two are ties."""
    compiled = compile_measured(*model, samples=samples(), embedding="int8", simplify=False)
    before, after = compiled.report.trials
    assert (before.embedding, before.quality["label"].auc) == ("fp32", 1.0)
    rounded = np.rint(np.linspace(-0.1, 0.1, 64, dtype=np.float32) * 127)
    pairs = np.sign(rounded[34:, None] - rounded[None, :34]) / 2 + 0.5
    assert after.quality["label"].auc == pytest.approx(pairs.mean()) == pytest.approx(1 - 1 / 1020)
    assert compiled.report.stored[0].format == "int8"


@pytest.mark.parametrize(("limit", "format", "tried"), [("auc:99%", "int8", 2), ("auc:99.99%", "fp16", 3)])
def test_a_budget_takes_the_smallest_format_that_keeps_it(
    limit: str, format: str, tried: int, model: tuple[Path, Path]
) -> None:
    compiled = compile_measured(*model, samples=samples(), budget=limit, simplify=False)
    assert compiled.report.stored[0].format == format
    assert [trial.allowed for trial in compiled.report.trials] == [True, *[False] * (tried - 2), True]
    assert json.dumps(compiled.report.to_dict())


def test_a_budget_that_no_other_format_keeps_leaves_float32(
    model: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Budget, "allows", lambda *_: False)
    for formats in ("int8", {"emb": "int8"}):
        compiled = compile_measured(*model, samples=samples(), budget="auc:100%", embedding=formats, simplify=False)
        assert [trial.allowed for trial in compiled.report.trials] == [True, False, False]
        assert compiled.report.stored[0].format == "fp32"


def change_table(model: tuple[Path, Path], row: int, place: int, number: float) -> None:
    path = model[1] / "m0_sparse_0.model" / "emb_vector"
    rows = np.fromfile(path, "<f4").reshape(-1, 5)
    rows[row, place] = number
    rows.tofile(path)


@pytest.mark.parametrize("formats", [None, "int8", {"emb": "int8"}])
def test_a_format_that_cannot_hold_the_numbers_is_beyond_any_budget(formats: Any, model: tuple[Path, Path]) -> None:
    """One row holds 70,000, which no half float can: int8 loses too much, fp16 is refused, float32 is left."""
    change_table(model, 63, 0, 70_000)
    compiled = compile_measured(*model, samples=samples(), budget="auc:99.99%", embedding=formats, simplify=False)
    trials = compiled.report.trials
    assert [trial.allowed for trial in trials] == [True, False, False]
    assert trials[1].refused is None and not trials[2].quality
    assert "emb cannot be fp16: it holds numbers beyond 65504" in str(trials[2].to_dict()["refused"])
    assert "emb cannot be fp16" in compiled.report.warnings[-1]
    assert compiled.report.stored[0].format == "fp32"


def test_a_refused_table_goes_on_to_the_next_larger_format(model: tuple[Path, Path]) -> None:
    """int8 has no scale for a row with NaN, a half float holds it."""
    change_table(model, 0, 3, np.nan)
    given = {name: array[1:] for name, array in samples().items()}
    compiled = compile_measured(*model, samples=given, budget="auc:90%", simplify=False)
    assert [trial.embedding for trial in compiled.report.trials] == ["fp32", "int8", {"emb": "fp16"}]
    assert compiled.report.stored[0].format == "fp16"


def narrow(model: tuple[Path, Path]) -> tuple[Path, Path]:
    """The same with rows of 4 numbers, which int8 makes no smaller: 4 bytes and a scale of 4, or 4 half floats."""
    graph, folder = model
    layers = json.loads(graph.read_text())["layers"]
    layers[1]["sparse_embedding_hparam"]["embedding_vec_size"] = layers[2]["leading_dim"] = 4
    graph.write_text(json.dumps({"layers": layers}))
    path = folder / "m0_sparse_0.model" / "emb_vector"
    np.fromfile(path, "<f4").reshape(-1, 5)[:, :4].copy().tofile(path)
    np.array([5] * 4 + [0], "<f4").tofile(folder / "m_dense_0.model")
    return graph, folder


def test_narrow_rows_are_not_int8_and_that_is_said(model: tuple[Path, Path]) -> None:
    compiled = hugectr2onnx.compile(*narrow(model), embedding="int8", simplify=False)
    assert compiled.report.stored[0].format == "fp16"
    (warning,) = compiled.report.warnings
    assert warning.startswith("emb is stored as fp16, not as int8")
    assert "rows of 4 numbers" in warning


def test_wide_rows_and_formats_by_name_have_no_warning(model: tuple[Path, Path]) -> None:
    assert hugectr2onnx.compile(*model, embedding="int8", simplify=False).report.warnings == []
    assert hugectr2onnx.compile(*narrow(model), embedding={"emb": "int8"}, simplify=False).report.warnings == []


def test_the_budget_names_the_formats_that_the_tables_have(
    model: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    files = narrow(model)
    trials = compile_measured(*files, samples=samples(), budget="auc:99%", simplify=False).report.trials
    assert [trial.embedding for trial in trials] == ["fp32", "fp16"]
    monkeypatch.setattr(Budget, "allows", lambda *_: False)
    trials = compile_measured(*files, samples=samples(), budget="auc:99%", simplify=False).report.trials
    assert [trial.embedding for trial in trials] == ["fp32", "fp16"], "fp16 is not tried twice"


def test_the_level_is_that_of_compile(model: tuple[Path, Path]) -> None:
    compiled = compile_measured(*model, samples=samples(), embedding="fp16", simplify=False)
    assert compiled.report.opt_level == hugectr2onnx.compile(*model, simplify=False).report.opt_level == 2


def test_without_a_budget_a_refused_format_is_an_error(model: tuple[Path, Path]) -> None:
    change_table(model, 63, 0, 70_000)
    with pytest.raises(UnsupportedError, match="emb cannot be fp16"):
        compile_measured(*model, samples=samples(), embedding="fp16", simplify=False)


def test_a_refused_table_leaves_the_others_their_format(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiling is played: `wide` cannot be int8, and a row of one float takes less as a half float anyway."""
    tables = [
        TableStorage(top, "fp32", 1, width, 4, 4, 0, 0, tops=(top,))
        for top, width in (("wide", 8), ("deep", 8), ("one", 1))
    ]
    tried: list[Any] = []

    def play(*_: object, embedding: Any, **__: object) -> Any:
        tried.append(embedding)
        if embedding == "int8":
            raise FormatRefusedError("wide cannot be int8", format="int8", tops=("wide",))
        report = SimpleNamespace(stored=tables, trials=(), warnings=[])
        return SimpleNamespace(report=report)

    monkeypatch.setattr(search, "compile", play)
    monkeypatch.setattr(search, "evaluate_samples", lambda *_: {"label": Quality("label", 2, 1, 0.8, 0.4)})
    compile_measured("g", "w", samples={}, budget="auc:99%")
    assert tried == ["fp32", "int8", {"wide": "fp16", "deep": "int8", "one": "fp16"}]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": None}, "holds no labels: add one array of 0 and 1 for each of label"),
        ({"keys": None}, "lacks the input keys; the inputs are keys"),
        ({"label": np.zeros(63)}, "one row for each sample; they have keys 64, label 63"),
        ({"label": np.full(64, 0.5)}, "label must hold 0 and 1 only"),
        ({"label": np.zeros((64, 2))}, r"label has the shape \[64, 2\]; the model gives \[64, 1\]"),
        ({"label": np.zeros(64)}, "the AUC of label is not defined"),
        ({"keys": np.zeros((64, 1, 1), np.float32)}, "keys"),
    ],
)
def test_samples_that_do_not_fit(change: dict[str, Any], message: str, model: tuple[Path, Path]) -> None:
    given = {name: array for name, array in {**samples(), **change}.items() if array is not None}
    with pytest.raises(FeedError, match=message):
        compile_measured(*model, samples=given, budget="auc:99%", simplify=False)


def test_formats_that_do_not_exist(model: tuple[Path, Path]) -> None:
    with pytest.raises(OptionError, match="embedding is 'int4'; a row format is one of fp32, fp16, int8"):
        hugectr2onnx.compile(*model, embedding="int4")
    with pytest.raises(OptionError, match="embedding names 'em', which is no embedding's top"):
        hugectr2onnx.compile(*model, embedding={"em": "int8"})


@pytest.mark.parametrize("level", range(4))
@pytest.mark.parametrize("format", ["fp16", "int8"])
@pytest.mark.parametrize("keys", ["auto", "label-encoder", "perfect-hash", "indices"])
def test_every_level_passes_parity(
    level: int, format: str, keys: str, model: tuple[Path, Path], tmp_path: Path
) -> None:
    compiled = hugectr2onnx.compile(*model, level, embedding=format, keys=keys, simplify=False)
    assert compiled.report.parity is not None
    assert compiled.report.parity.outputs[0].max_error < 1e-6
    compiled.save(tmp_path / "m.onnx")
    from hugectr2onnx.verification.verify_file import verify

    assert verify(tmp_path / "m.onnx", *model).parity.outputs[0].max_error < 1e-6
