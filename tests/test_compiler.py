"""The public face: `hugectr2onnx.compile` and what it returns."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import hugectr2onnx
from hugectr2onnx.backend.onnx.artifact import Artifact
from hugectr2onnx.backend.runtime import parity
from hugectr2onnx.backend.simplify.simplifier import SimplifyResult
from hugectr2onnx.errors import FeedError, OptionError, ParityError, ShapeError, WeightsError

WEIGHT = np.arange(12, dtype=np.float32).reshape(4, 3) / 10
BIAS = np.array([0.5, -0.5, 1.0], np.float32)
TABLE = {7: [1.0, 2.0], 3: [0.5, -1.0], 2**62: [4.0, 8.0]}


def graph(*, combiner: str = "sum", dense_dim: int = 2, loss: bool = True) -> dict[str, Any]:
    """dense [N, 2] beside one slot of two keys, vectors of 2, through one InnerProduct to three labels."""
    sparse = {"top": "keys", "slot_num": 1, "nnz_per_slot": [2], "is_fixed_length": False}
    hparam = {"combiner": combiner, "embedding_vec_size": 2}
    layers: list[dict[str, Any]] = [
        {
            "type": "Data",
            "label": {"top": "label", "label_dim": 3},
            "dense": {"top": "dense", "dense_dim": dense_dim},
            "sparse": [sparse],
        },
        {
            "type": "DistributedSlotSparseEmbeddingHash",
            "bottom": "keys",
            "top": "emb",
            "sparse_embedding_hparam": hparam,
        },
        {"type": "Reshape", "bottom": "emb", "top": "flat", "leading_dim": 2, "time_step": 0},
        {"type": "Concat", "bottom": ["dense", "flat"], "top": "both", "axis": 1},
        {"type": "InnerProduct", "bottom": "both", "top": "fc", "fc_param": {"num_output": 3}},
    ]
    if loss:
        layers.append({"type": "MultiCrossEntropyLoss", "bottom": ["fc", "label"], "top": "loss"})
    return {"layers": layers}


@pytest.fixture
def weights(tmp_path: Path) -> hugectr2onnx.Weights:
    dense, table = tmp_path / "m_dense_10.model", tmp_path / "m0_sparse_10.model"
    dense.write_bytes(WEIGHT.tobytes() + BIAS.tobytes())
    table.mkdir()
    (table / "key").write_bytes(np.array(list(TABLE), "<i8").tobytes())
    (table / "emb_vector").write_bytes(np.array(list(TABLE.values()), "<f4").tobytes())
    return hugectr2onnx.Weights(dense=dense, sparse=[table])


FEEDS = {
    "dense": np.array([[1, 2], [0, 0], [3, -1], [0, 0]], np.float32),
    "keys": np.array([[[7, 3]], [[-1, -1]], [[2**62, 99]], [[-(2**63), 2**63 - 1]]]),
}
SUMS = np.array([[1.5, 1.0], [0, 0], [4, 8], [0, 0]])
MEANS = np.array([[0.75, 0.5], [0, 0], [2, 4], [0, 0]])


def prediction(vectors: np.ndarray) -> np.ndarray:
    logits = np.concatenate([FEEDS["dense"], vectors], 1) @ WEIGHT.astype(np.float64) + BIAS
    return 1 / (1 + np.exp(-logits))


@pytest.mark.parametrize("level", [0, 1, 2, 3])
@pytest.mark.parametrize(("combiner", "vectors"), [("sum", SUMS), ("mean", MEANS)])
def test_a_whole_model(weights: hugectr2onnx.Weights, level: int, combiner: str, vectors: np.ndarray) -> None:
    compiled = hugectr2onnx.compile(graph(combiner=combiner), weights, level)
    np.testing.assert_allclose(compiled.run(FEEDS)["label"], prediction(vectors), rtol=1e-5, atol=1e-6)


def test_the_interface_is_what_users_feed_already(weights: hugectr2onnx.Weights) -> None:
    model = hugectr2onnx.compile(graph(), weights).model
    shapes = {v.name: [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for v in model.graph.input}
    assert shapes == {"dense": ["N", 2], "keys": ["N", 1, "nnz_keys"]}
    assert [v.name for v in model.graph.output] == ["label"]
    assert model.opset_import[0].version == 17
    assert model.ir_version == 8


def test_without_a_loss_the_free_tops_are_the_outputs(weights: hugectr2onnx.Weights) -> None:
    compiled = hugectr2onnx.compile(graph(loss=False), weights)
    assert list(compiled.run(FEEDS)) == ["fc"]


def test_vectors_instead_of_keys(weights: hugectr2onnx.Weights) -> None:
    compiled = hugectr2onnx.compile(graph(), weights, convert_embedding=False)
    answer = compiled.run({"dense": FEEDS["dense"], "emb": SUMS[:, None].astype(np.float32)})
    np.testing.assert_allclose(answer["label"], prediction(SUMS), rtol=1e-5, atol=1e-6)


def test_raw_keys_with_the_readers_offsets(weights: hugectr2onnx.Weights) -> None:
    data = graph()["layers"]
    data[0]["sparse"][0] |= {"slot_num": 2, "nnz_per_slot": [1, 1]}
    data[2]["leading_dim"] = 4
    data[3]["bottom"] = ["flat"]
    compiled = hugectr2onnx.compile({"layers": data}, weights, slot_size_array=[4, 10])
    both = np.array([[3, 3], [-1, 2**63 - 1]])[:, :, None]  # slot 1 reads 3 + 4 = 7; the extremes stay absent
    expected = np.array([[0.5, -1, 1, 2], [0, 0, 0, 0]]) @ WEIGHT.astype(np.float64) + BIAS
    np.testing.assert_allclose(
        compiled.run({"dense": FEEDS["dense"][:2], "keys": both})["label"], 1 / (1 + np.exp(-expected)), 1e-5
    )


def test_a_snapshot_folder_is_discovered(weights: hugectr2onnx.Weights, tmp_path: Path) -> None:
    (tmp_path / "graph.json").write_text(json.dumps(graph()))
    compiled = hugectr2onnx.compile(tmp_path / "graph.json", tmp_path)
    assert compiled.report.tables == {"emb": 3}


def test_saved_files_are_valid_and_the_same(weights: hugectr2onnx.Weights, tmp_path: Path) -> None:
    for name in ("a.onnx", "b.onnx"):
        hugectr2onnx.compile(graph(), weights).save(tmp_path / name)
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()
    onnx.checker.check_model(str(tmp_path / "a.onnx"), full_check=True)


def test_the_model_says_what_it_is_but_not_where_it_was_made(weights: hugectr2onnx.Weights, tmp_path: Path) -> None:
    model = hugectr2onnx.compile(graph(), weights).model
    properties = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(properties["hugectr2onnx.options"])["opt_level"] == 2
    assert properties["hugectr2onnx.parity"].startswith("passed")
    assert str(tmp_path).encode() not in model.SerializeToString()
    assert all(entry.key == "hugectr.layer" for node in model.graph.node for entry in node.metadata_props)
    assert all(node.metadata_props for node in model.graph.node)


def test_the_report_is_json(weights: hugectr2onnx.Weights) -> None:
    report = hugectr2onnx.compile(graph(), weights).report
    plain = json.loads(json.dumps(report.to_dict()))
    assert plain["fires"]["fuse_matmul_add"] == 1
    assert [stage["name"] for stage in plain["stages"]][:3] == ["read", "import", "reference"]
    assert plain["parity"]["outputs"][0]["name"] == "label"
    assert plain["ops_after"] < plain["ops_before"]


def test_progress_names_the_stages(weights: hugectr2onnx.Weights) -> None:
    seen: list[tuple[str, float]] = []
    hugectr2onnx.compile(graph(), weights, progress=lambda stage, share: seen.append((stage, share)))
    assert seen[0] == ("read", 0.0)
    assert seen[-1] == ("done", 1.0)


def test_writing_is_a_stage_of_its_own(weights: hugectr2onnx.Weights, tmp_path: Path) -> None:
    compiled = hugectr2onnx.compile(graph(), weights, simplify=False)
    assert "write" not in [stage.name for stage in compiled.report.stages]
    compiled.save(tmp_path / "m.onnx")
    assert compiled.report.stages[-1].name == "write"


def test_integers_and_doubles_are_taken_as_they_come(weights: hugectr2onnx.Weights) -> None:
    compiled = hugectr2onnx.compile(graph(), weights)
    feeds = {"dense": FEEDS["dense"].astype(np.float64), "keys": np.full((4, 1, 2), 7, np.int32)}
    assert compiled.run(feeds)["label"].shape == (4, 3)


def test_a_wrong_feed_is_named(weights: hugectr2onnx.Weights) -> None:
    compiled = hugectr2onnx.compile(graph(), weights)
    with pytest.raises(FeedError, match="keys"):
        compiled.run({"dense": FEEDS["dense"]})


def test_onnxsim_is_not_taken_at_its_word(weights: hugectr2onnx.Weights, monkeypatch: pytest.MonkeyPatch) -> None:
    """A simplified model that computes something else is refused, and ours delivered."""

    def wrong(artifact: Artifact, **_: object) -> SimplifyResult:
        model = onnx.ModelProto()
        model.CopyFrom(artifact.skeleton)
        bias = next(tensor for tensor in model.graph.initializer if tensor.name == "fc.bias")
        bias.raw_data = np.zeros(3, "<f4").tobytes()
        return SimplifyResult(Artifact(model, artifact.tensors), True)

    monkeypatch.setattr("hugectr2onnx.compiler.onnxsim.simplify", wrong)
    compiled = hugectr2onnx.compile(graph(), weights)
    assert compiled.report.simplify.startswith("refused: output 'label' differs")
    np.testing.assert_allclose(compiled.run(FEEDS)["label"], prediction(SUMS), rtol=1e-5, atol=1e-6)


def test_a_model_that_differs_is_not_delivered(
    weights: hugectr2onnx.Weights, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    expect = parity.expect
    other = hugectr2onnx.compile(graph(combiner="mean"), weights).ir
    monkeypatch.setattr(parity, "expect", lambda ir: expect(other))
    with pytest.raises(ParityError, match="output 'label' differs from the float64 reference"):
        hugectr2onnx.compile(graph(), weights)


def test_a_prediction_without_a_row_for_each_sample_is_refused(weights: hugectr2onnx.Weights, tmp_path: Path) -> None:
    data = graph(dense_dim=0)["layers"]
    data[3:5] = [{"type": "InnerProduct", "bottom": "flat", "top": "fc", "fc_param": {"num_output": 3}}]
    data[2]["leading_dim"] = 4
    dense = tmp_path / "other_dense_0.model"
    dense.write_bytes(np.zeros(15, "<f4").tobytes())
    with pytest.raises(ShapeError, match=r"N/2 rows for N samples"):
        hugectr2onnx.compile({"layers": data}, {"dense": dense, "sparse": weights.tables})


def test_too_few_tables_are_counted(weights: hugectr2onnx.Weights) -> None:
    with pytest.raises(WeightsError, match="0 tables were given for 1 embedding layers"):
        hugectr2onnx.compile(graph(), {"dense": weights.dense})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"opt_level": 4}, "opt_level is 4; it must be one of 0, 1, 2, 3"),
        ({"opset": 12}, "opset is 12; it must be from 17 to 23"),
        ({"opset": 99}, "opset is 99; it must be from 17 to 23"),
    ],
)
def test_options_out_of_range(weights: hugectr2onnx.Weights, options: dict[str, int], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        hugectr2onnx.compile(graph(), weights, **options)


@pytest.mark.parametrize("opset", range(17, 24))
def test_every_opset(weights: hugectr2onnx.Weights, opset: int) -> None:
    compiled = hugectr2onnx.compile(graph(), weights, opset=opset)
    assert compiled.model.opset_import[0].version == opset
    np.testing.assert_allclose(compiled.run(FEEDS)["label"], prediction(SUMS), rtol=1e-5, atol=1e-6)


def test_a_table_with_a_default_vector(weights: hugectr2onnx.Weights) -> None:
    data = graph()["layers"]
    data[1]["sparse_embedding_hparam"]["default_emb_vec_value"] = 0.25
    compiled = hugectr2onnx.compile({"layers": data}, weights)
    vectors = SUMS + np.array([[0], [0], [0.25], [0.25]])  # 99 and 2**63 - 1 are absent, the rest is padding
    np.testing.assert_allclose(compiled.run(FEEDS)["label"], prediction(vectors), rtol=1e-5, atol=1e-6)


def test_weights_on_which_the_algebra_misses_the_tolerance_give_level_1(tmp_path: Path) -> None:
    """Attention over one key that a mask keeps is x / (1 + 1e-6); the algebra drops the 1e-6, and subtracting x shows it."""
    layers = [
        {
            "type": "Data",
            "dense": {"top": "dense", "dense_dim": 3},
            "label": {"top": "y", "label_dim": 1},
            "sparse": [],
        },
        {"type": "Slice", "bottom": "dense", "top": ["length", "x"], "ranges": [[0, 1], [1, 3]]},
        {"type": "Reshape", "bottom": "x", "top": "s", "leading_dim": 2, "time_step": 1},
        {"type": "SequenceMask", "bottom": ["length"], "top": "mask", "max_sequence_len": 1},
        {"type": "MultiHeadAttention", "bottom": ["s", "s", "s", "mask"], "top": "a", "num_attention_heads": 1},
        {"type": "Sub", "bottom": ["a", "s"], "top": "d"},
        {"type": "LayerNorm", "bottom": "d", "top": "n", "ln_param": {"eps": 1e-14}},
    ]
    layers[4]["transpose_b"] = False
    np.float32([1, 1, 0, 0]).tofile(tmp_path / "dense.model")
    compiled = hugectr2onnx.compile({"layers": layers}, hugectr2onnx.Weights(dense=tmp_path / "dense.model"))
    assert compiled.report.opt_level == 1
    assert any("level 2 missed the tolerance on these weights" in each for each in compiled.report.warnings)
    x = np.float32([[1, 3, -4]])
    centred = (x[:, 1:] - x[:, 1:].mean()) * (1 / (1 + 1e-6) - 1)
    expected = centred / np.sqrt((centred**2).mean() + 1e-14)
    np.testing.assert_allclose(compiled.run({"dense": x})["n"].ravel(), expected.ravel(), atol=0.1)
