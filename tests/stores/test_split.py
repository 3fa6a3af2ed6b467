"""A split model predicts the bits of the model in one file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import hugectr2onnx
from hugectr2onnx.errors import FeedError, OptionError
from hugectr2onnx.options import Options
from hugectr2onnx.stores.export import export_split
from hugectr2onnx.stores.split_scorer import SplitScorer

from .models import Model, same_bits, write_model


@pytest.mark.parametrize("level", [0, 1, 2, 3])
def test_every_level_predicts_the_bits_of_the_one_file_model(level: int, model: Model, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    whole = model.compile(opt_level=level)
    export_split(model.graph, model.weights, tmp_path, options=model.options.changed(opt_level=level))
    with SplitScorer(tmp_path) as scorer:
        for batch in (1, 7, 64):
            feeds = model.feeds(batch, seed=batch)
            assert same_bits(scorer(feeds), whole.run(feeds))


def test_every_store_gives_the_same_bits(kind: str, model: Model, tmp_path: Path) -> None:
    whole = model.compile()
    done = export_split(model.graph, model.weights, tmp_path, store=kind, options=model.options)
    assert [(table.name, table.rows, table.width) for table in done.tables] == [
        ("averaged", 90, 8), ("summed", 83, 4), ("wide", 60, 1)
    ]  # fmt: skip
    with SplitScorer(tmp_path) as scorer:
        feeds = model.feeds(64)
        assert same_bits(scorer(feeds), whole.run(feeds))


@pytest.mark.parametrize("changes", [
    {"default_embedding": 0.75},
    {"default_embedding": 0.3, "embedding": "int8", "opt_level": 3},
    {"embedding": "fp16", "default_embedding": {"averaged": -2.0}},
    {"padding_key": 7},
    {"slot_size_array": None},
], ids=["default", "int8", "fp16", "padding key", "no offsets"])  # fmt: skip
def test_options_of_tables_mean_what_they_mean_in_one_file(
    kind: str, changes: dict[str, object], model: Model, tmp_path: Path
) -> None:
    changed = Model(model.graph, model.weights, model.options.changed(**changes))
    export_split(changed.graph, changed.weights, tmp_path, store=kind, options=changed.options)
    whole = changed.compile()
    with SplitScorer(tmp_path) as scorer:
        for batch in (1, 64):
            feeds = changed.feeds(batch, seed=3)
            assert same_bits(scorer(feeds), whole.run(feeds))


def test_a_table_that_is_divided_among_gpus_keeps_its_rows_apart(kind: str, tmp_path: Path) -> None:
    """Key 5 is two rows: one for slots of the first GPU, one for those of the second (formats 2.2)."""
    graph, folder = write_localized(tmp_path)
    whole = hugectr2onnx.compile(graph, folder, n_gpus=2)
    export_split(graph, folder, tmp_path / "split", store=kind, options=Options(n_gpus=2))
    keys = np.array([[[5, 6], [5, 9]], [[6, -1], [8, 5]]], np.int64)
    with SplitScorer(tmp_path / "split") as scorer:
        answer = scorer({"k": keys})
    assert same_bits(answer, whole.run({"k": keys}))
    np.testing.assert_array_equal(answer["r"], [[1 + 2, 10 + 40], [2, 40 * 0 + 30 + 10]])


def write_localized(folder: Path) -> tuple[Path, Path]:
    hparam = {"embedding_vec_size": 1, "combiner": "sum"}
    sparse = {"top": "k", "slot_num": 2, "nnz_per_slot": [2, 2], "is_fixed_length": False}
    label, dense = {"top": "label", "label_dim": 1}, {"top": "dense", "dense_dim": 0}
    layers = [
        {"type": "Data", "label": label, "dense": dense, "sparse": [sparse]},
        {"type": "LocalizedSlotSparseEmbeddingHash", "bottom": "k", "top": "e", "sparse_embedding_hparam": hparam},
        {"type": "Reshape", "bottom": "e", "top": "r", "leading_dim": 2},
    ]
    (folder / "m.json").write_text(json.dumps({"layers": layers}))
    table = folder / "m0_sparse_1.model"
    table.mkdir()
    np.array([5, 6, 5, 8, 9], "<i8").tofile(table / "key")
    np.array([0, 0, 1, 1, 1], "<i8").tofile(table / "slot_id")
    np.array([1, 2, 10, 30, 40], "<f4").tofile(table / "emb_vector")
    (folder / "m_dense_1.model").write_bytes(b"")
    return folder / "m.json", folder


def test_a_request_of_nothing_but_padding(model: Model, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    export_split(model.graph, model.weights, tmp_path, options=model.options)
    feeds = model.feeds(2)
    feeds["many"], feeds["one"] = np.full((2, 3, 1), -1, np.int64), np.full((2, 2, 1), -5, np.int64)
    with SplitScorer(tmp_path) as scorer:
        assert same_bits(scorer(feeds), model.compile().run(feeds))


def test_inputs_that_do_not_fit_are_refused_by_name(model: Model, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    export_split(model.graph, model.weights, tmp_path, options=model.options)
    with SplitScorer(tmp_path) as scorer:
        with pytest.raises(FeedError, match="the feed lacks many"):
            scorer({name: array for name, array in model.feeds(1).items() if name != "many"})
        with pytest.raises(FeedError, match=r"input one is float64 \[1, 2, 1\]"):
            scorer({**model.feeds(1), "one": np.zeros((1, 2, 1))})


@pytest.mark.parametrize(("change", "message"), [
    ({"keys": "direct"}, "the rows are found by the store, not by a key map in the model"),
    ({"convert_embedding": False}, "there are no rows to store with convert_embedding=False"),
    ({"interface": "csr"}, "takes padded keys: leave out interface='csr'"),
])  # fmt: skip
def test_options_that_place_tables_are_refused(
    change: dict[str, object], message: str, model: Model, tmp_path: Path
) -> None:
    pytest.importorskip("pyarrow")
    with pytest.raises(OptionError, match=message):
        export_split(model.graph, model.weights, tmp_path, options=model.options.changed(**change))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["wdl", "dcn", "dcnv2", "criteo_bn", "dlrm", "din", "bst", "neumf", "mmoe"])
def test_sample_models(name: str, tmp_path: Path) -> None:
    from hugectr2onnx.sample_models.catalog import write_sample
    from hugectr2onnx.sample_models.feeds import sample_feeds

    pytest.importorskip("pyarrow")
    sample = write_sample(name, tmp_path / "model")
    options = Options(slot_size_array=sample.slot_size_array)
    export_split(sample.graph, sample.weights, tmp_path / "split", options=options)
    whole = hugectr2onnx.compile(sample.graph, sample.weights, options=options)
    with SplitScorer(tmp_path / "split") as scorer:
        feeds = sample_feeds(sample, 64)
        assert same_bits(scorer(feeds), whole.run(feeds))


def test_the_model_of_these_tests_has_what_it_should(tmp_path: Path) -> None:
    model = write_model(tmp_path)
    feeds = model.feeds(64)
    assert (feeds["many"] < 0).all(axis=2).any(), "a slot without keys"
    assert (feeds["many"] >= 1 << 41).any(), "keys that no table holds"
