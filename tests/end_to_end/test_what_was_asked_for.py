"""What was asked for is done, refused, or a warning says what was done instead."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hugectr2onnx
from hugectr2onnx.errors import MissingInformationError, OptionError, WeightsError

KEYS = np.array([3, 5, 7, 9], "<i8")
ROWS = np.arange(8, dtype="<f4").reshape(4, 2) + 1
SLOT_IDS = np.array([0, 1, 2, 1], "<u8")


def graph(slots: int = 3, type: str = "LocalizedSlotSparseEmbeddingHash") -> dict[str, Any]:
    label, dense = {"top": "label", "label_dim": 1}, {"top": "dense", "dense_dim": 0}
    sparse = [{"top": "keys", "slot_num": slots, "nnz_per_slot": 1, "is_fixed_length": True}]
    hparam = {"embedding_vec_size": 2, "combiner": "sum"}
    return {
        "layers": [
            {"type": "Data", "label": label, "dense": dense, "sparse": sparse},
            {"type": type, "bottom": "keys", "top": "emb", "sparse_embedding_hparam": hparam},
            {"type": "ReLU", "bottom": "emb", "top": "out"},
        ]
    }


def files(folder: Path, *, slot_ids: bool = True) -> dict[str, Any]:
    table = folder / "t"
    table.mkdir()
    KEYS.tofile(table / "key")
    ROWS.tofile(table / "emb_vector")
    if slot_ids:
        SLOT_IDS.tofile(table / "slot_id")
    return {"sparse": [table]}


@pytest.mark.parametrize("level", [0, 1, 2, 3])
def test_n_gpus_counts_where_every_key_stands_once(level: int, tmp_path: Path) -> None:
    """On two GPUs slot 0 and 2 see the rows of slots 0 and 2, slot 1 those of slot 1 (formats 2.2)."""
    compiled = hugectr2onnx.compile(graph(), files(tmp_path), level, n_gpus=2, simplify=False)
    keys = np.array([[[3], [3], [3]], [[5], [5], [5]], [[7], [9], [7]]], np.int64)
    none = [0, 0]
    expected = [[ROWS[0], none, ROWS[0]], [none, ROWS[1], none], [ROWS[2], ROWS[3], ROWS[2]]]
    np.testing.assert_array_equal(compiled.run({"keys": keys})["out"], np.array(expected, np.float32))
    assert "a slot s reads only the rows whose slot_id is s modulo 2 GPUs" in " ".join(compiled.report.warnings)


def test_n_gpus_of_one_and_of_a_distributed_table_change_nothing(tmp_path: Path) -> None:
    keys = np.array([[[3], [3], [3]]], np.int64)
    weights = files(tmp_path)
    for model, gpus in ((graph(), 1), (graph(type="DistributedSlotSparseEmbeddingHash"), 4)):
        compiled = hugectr2onnx.compile(model, weights, n_gpus=gpus, simplify=False)
        np.testing.assert_array_equal(compiled.run({"keys": keys})["out"], np.repeat(ROWS[:1], 3, 0)[None])


def test_n_gpus_without_slot_ids_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="has no slot_id file, which tells on which GPU a row was"):
        hugectr2onnx.compile(graph(), files(tmp_path, slot_ids=False), n_gpus=2)


def test_a_slot_size_array_that_is_too_short_is_warned_of(tmp_path: Path) -> None:
    compiled = hugectr2onnx.compile(graph(), files(tmp_path), slot_size_array=[4, 0], simplify=False)
    assert (
        "slot_size_array has 2 entries for 3 slots: nothing is added to the keys of the others"
        in compiled.report.warnings
    )


def test_a_slot_size_array_that_is_too_long_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="slot_size_array has 4 entries for 3 slots") as refused:
        hugectr2onnx.compile(graph(), files(tmp_path), slot_size_array=[1, 1, 1, 1])
    assert refused.value.option == "slot_size_array"


def test_the_state_of_the_optimizer_is_refused_though_its_size_fits(tmp_path: Path) -> None:
    (tmp_path / "wdl_opt_dense_5.model").write_bytes(b"")
    with pytest.raises(WeightsError, match=r"is the state of the optimizer by its name.*give wdl_dense_5\.model"):
        hugectr2onnx.compile(graph(), {**files(tmp_path), "dense": tmp_path / "wdl_opt_dense_5.model"})


@pytest.mark.parametrize("level", [0, 2])
@pytest.mark.parametrize(
    "default", [0.5, {"emb": 0.5}, {"models": [{"sparse_files": ["t"], "default_value_for_each_table": [0.5]}]}]
)
def test_unknown_keys_have_the_vector_that_was_asked_for(default: Any, level: int, tmp_path: Path) -> None:
    """A table of a ps.json that has another name than the graph's goes by its order."""
    compiled = hugectr2onnx.compile(graph(), files(tmp_path), level, default_embedding=default, simplify=False)
    answer = compiled.run({"keys": np.array([[[3], [4], [-1]]], np.int64)})["out"]
    np.testing.assert_array_equal(answer, [[ROWS[0], [0.5, 0.5], [0, 0]]])


def test_a_default_for_a_table_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="default_embedding names 'em', which is no embedding's top"):
        hugectr2onnx.compile(graph(), files(tmp_path), default_embedding={"em": 1})
    config = {"models": [{"embedding_table_names": ["x", "y"]}]}
    with pytest.raises(OptionError, match="the configuration has the tables x, y, the model emb"):
        hugectr2onnx.compile(graph(), {"sparse": [tmp_path / "t"]}, default_embedding=config)


def test_two_losses_on_one_label_give_an_output_each(tmp_path: Path) -> None:
    """HugeCTR reads a tensor once, so that graph_to_json writes a copy of the label for each loss."""
    layers = [
        {
            "type": "Data",
            "label": {"top": "label", "label_dim": 1},
            "dense": {"top": "dense", "dense_dim": 2},
            "sparse": [],
        },
        {"type": "Slice", "bottom": "label", "top": ["label_slice0", "label_slice1"], "ranges": [[0, 1], [0, 1]]},
        {"type": "Slice", "bottom": "dense", "top": ["a", "b"], "ranges": [[0, 1], [1, 2]]},
        {"type": "BinaryCrossEntropyLoss", "bottom": ["a", "label_slice0"], "top": "loss0"},
        {"type": "BinaryCrossEntropyLoss", "bottom": ["b", "label_slice1"], "top": "loss1"},
    ]
    compiled = hugectr2onnx.compile({"layers": layers}, {}, simplify=False)
    answers = compiled.run({"dense": np.array([[0.0, 1.0]], np.float32)})
    assert list(answers) == ["label_slice0", "label_slice1"]
    np.testing.assert_allclose(
        [answers["label_slice0"][0, 0], answers["label_slice1"][0, 0]], [0.5, 1 / (1 + np.exp(-1))]
    )


def lost_producer(sparse: list[dict[str, Any]]) -> str:
    """What a graph whose fc1 is missing is told."""
    layers = [
        {
            "type": "Data",
            "label": {"top": "y", "label_dim": 1},
            "dense": {"top": "dense", "dense_dim": 2},
            "sparse": sparse,
        },
        {"type": "ReLU", "bottom": "fc1", "top": "relu1"},
        {"type": "ReLU", "bottom": "dense", "top": "other"},
    ]
    with pytest.raises(MissingInformationError) as refused:
        hugectr2onnx.compile({"layers": layers}, {})
    return str(refused.value)


def test_a_missing_layer_is_no_lost_embedding_collection_where_no_keys_are_left() -> None:
    message = lost_producer([])
    assert "EmbeddingCollection" not in message
    assert "if a layer is missing, mend the JSON" in message
    assert "or give its shape, for example input_shapes={'fc1': ('N', 'slots', 'vec')}" in message


def test_keys_that_nothing_looks_up_are_a_lost_embedding_collection() -> None:
    message = lost_producer([{"top": "keys", "slot_num": 1, "nnz_per_slot": 1, "is_fixed_length": True}])
    assert "graph_to_json does not save the look-ups of an EmbeddingCollection" in message


def test_only_a_cross_network_lacks_a_projection_dim(tmp_path: Path) -> None:
    fc = {"type": "InnerProduct", "bottom": "dense", "top": "fc", "fc_param": {"num_output": 1}}
    cross = {"type": "MultiCross", "bottom": "dense", "top": "fc", "mc_param": {"num_layers": 1, "projection_dim": 1}}
    data = {
        "type": "Data",
        "label": {"top": "y", "label_dim": 1},
        "dense": {"top": "dense", "dense_dim": 2},
        "sparse": [],
    }
    np.ones(99, "<f4").tofile(tmp_path / "d")
    for layer, is_named in ((fc, False), (cross, True)):
        with pytest.raises(WeightsError, match="are left over") as refused:
            hugectr2onnx.compile({"layers": [data, layer]}, {"dense": tmp_path / "d"})
        assert ("projection_dim" in str(refused.value)) == is_named
