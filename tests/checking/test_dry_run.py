"""The dry run: everything wrong at once, each with its place."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hugectr2onnx.checking.dry_run import check
from hugectr2onnx.checking.report import CheckReport, LayerCheck, place_layers
from hugectr2onnx.errors import HugeCTR2ONNXError
from hugectr2onnx.frontend import loading
from hugectr2onnx.frontend.weights.snapshot import Weights
from hugectr2onnx.options import Options

EMBEDDING = {"embedding_vec_size": 4, "combiner": "sum"}
LAYERS: list[dict[str, Any]] = [
    {
        "type": "Data",
        "label": {"top": "label", "label_dim": 1},
        "dense": {"top": "dense", "dense_dim": 3},
        "sparse": [{"top": "keys", "slot_num": 2, "nnz_per_slot": [1, 1], "is_fixed_length": True}],
    },
    {
        "type": "LocalizedSlotSparseEmbeddingHash",
        "bottom": "keys",
        "top": "emb",
        "sparse_embedding_hparam": EMBEDDING,
    },
    {"type": "Reshape", "bottom": "emb", "top": "flat", "leading_dim": 8},
    {"type": "Concat", "bottom": ["flat", "dense"], "top": "all"},
    {"type": "InnerProduct", "bottom": "all", "top": "fc1", "fc_param": {"num_output": 5}},
    {"type": "BatchNorm", "bottom": "fc1", "top": "bn1", "bn_param": {"factor": 0.9, "eps": 1e-5}},
    {"type": "InnerProduct", "bottom": "bn1", "top": "fc2", "fc_param": {"num_output": 1}},
    {"type": "BinaryCrossEntropyLoss", "bottom": ["fc2", "label"], "top": "loss"},
]
# fc1 has 11 * 5 + 5 weights, bn1 has 5 + 5, fc2 has 5 + 1.
FC1, BN1, FC2 = 4 * 60, 4 * 10, 4 * 6
FLOATS = 76


@dataclass
class Files:
    """The files of the model above, and its graph as an object that a test may edit."""

    folder: Path
    layers: list[dict[str, Any]] = field(default_factory=lambda: copy.deepcopy(LAYERS))

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True)
        self.table.mkdir()
        self.write_dense(np.zeros(FLOATS))
        self.write_statistics([0.0] * 5, [1.0] * 5)
        self.write_table([3, 1, 9], [0, 1, 1], 12)

    @property
    def dense(self) -> Path:
        return self.folder / "m_dense_1.model"

    @property
    def statistics(self) -> Path:
        return self.folder / "m_dense_1.model.ntp.json"

    @property
    def table(self) -> Path:
        return self.folder / "m0_sparse_1.model"

    def write_dense(self, floats: Sequence[float] | np.ndarray) -> None:
        self.dense.write_bytes(np.asarray(floats, "<f4").tobytes())

    def write_statistics(self, mean: list[float], var: list[float], count: int = 1) -> None:
        entries = [{"type": "BatchNorm", "mean": mean, "var": var}] * count
        self.statistics.write_text(json.dumps({"layers": entries}))

    def write_table(self, keys: Sequence[int], slots: Sequence[int], floats: int) -> None:
        (self.table / "key").write_bytes(np.asarray(keys, "<i8").tobytes())
        (self.table / "slot_id").write_bytes(np.asarray(slots, "<i8").tobytes())
        (self.table / "emb_vector").write_bytes(np.zeros(floats, "<f4").tobytes())

    def check(self, **options: Any) -> CheckReport:
        return check({"layers": self.layers}, self.folder, **options)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path / "model")


def only(report: CheckReport) -> str:
    """The message of the only problem."""
    (problem,) = report.problems
    return problem.message


def by_top(report: CheckReport) -> Mapping[str, LayerCheck]:
    return {layer.tops[0]: layer for layer in report.layers}


# A good model


def test_nothing_is_wrong(files: Files) -> None:
    report = files.check()
    assert report.ok
    assert report.exit_code == 0
    assert report.problems == report.warnings == ()


def test_bytes_of_each_layer(files: Files) -> None:
    layers = by_top(files.check())
    places = {top: (layers[top].offset, layers[top].expected_bytes, layers[top].found_bytes) for top in layers}
    assert places["fc1"] == (0, FC1, FC1)
    assert places["bn1"] == (FC1, BN1, BN1)
    assert places["fc2"] == (FC1 + BN1, FC2, FC2)
    assert places["loss"] == (4 * FLOATS, 0, 0)


def test_weights_and_shapes_of_a_layer(files: Files) -> None:
    fc1 = by_top(files.check())["fc1"]
    assert (fc1.shapes, dict(fc1.weights)) == (("f32[N, 5]",), {"weight": (11, 5), "bias": (5,)})
    assert fc1.status == "ok"


def test_the_table(files: Files) -> None:
    (table,) = files.check().tables
    assert (table.top, table.bottom, table.slots, table.vec_size, table.combiner) == ("emb", "keys", 2, 4, "sum")
    assert (table.rows, table.smallest_key, table.largest_key, table.has_slot_ids) == (3, 1, 9, True)
    assert table.expected_bytes == table.found_bytes == 48


def test_an_empty_table(files: Files) -> None:
    files.write_table([], [], 0)
    report = files.check()
    assert report.ok
    assert (report.tables[0].rows, report.tables[0].smallest_key) == (0, None)


def test_interface_and_statistics(files: Files) -> None:
    report = files.check()
    assert [(each.name, each.type) for each in report.inputs] == [("dense", "f32[N, 3]"), ("keys", "i64[N, 2, 1]")]
    assert [(each.name, each.type) for each in report.outputs] == [("label", "f32[N, 1]")]
    assert report.statistics is not None
    assert dict(report.statistics.layers) == {"bn1": 5}
    assert report.statistics.found == 1


def test_without_weights_it_says_what_is_expected(files: Files) -> None:
    report = check({"layers": files.layers})
    assert report.ok
    assert report.dense is not None
    assert (report.dense.expected_bytes, report.dense.found_bytes, report.dense.is_complete) == (304, None, True)
    assert report.tables[0].is_needed
    assert report.tables[0].path is None


def test_vectors_as_inputs_need_no_table(files: Files) -> None:
    report = check({"layers": files.layers}, Weights(files.dense), Options(convert_embedding=False))
    assert report.ok
    assert not report.tables[0].is_needed
    assert [each.name for each in report.inputs] == ["dense", "emb"]


def test_the_report_is_ready_for_json(files: Files) -> None:
    data = json.loads(json.dumps(files.check().to_dict()))
    assert data["ok"] is True
    assert data["tables"][0]["rows"] == 3


# The dense file


def test_a_short_file_names_the_layer_and_the_weight_in_which_it_ends(files: Files) -> None:
    files.write_dense(np.zeros(67))
    report = files.check()
    message = only(report)
    assert "has 268 bytes and the layers need 304: 36 bytes are missing" in message
    assert "it ends in layers[5] BatchNorm fc1 -> bn1, whose beta [5] takes the bytes 260 to 280" in message
    assert [(each.tops[0], each.found_bytes) for each in report.layers if each.expected_bytes] == [
        ("fc1", 240),
        ("bn1", 28),
        ("fc2", 0),
    ]


def test_a_long_file_tells_how_many_bytes_are_left(files: Files) -> None:
    files.write_dense(np.zeros(FLOATS + 2))
    message = only(files.check())
    assert "8 bytes (2 floats) are left over" in message
    assert "layers[6] InnerProduct bn1 -> fc2" in message


def test_an_empty_file(files: Files) -> None:
    files.write_dense([])
    assert "whose weight [11, 5] takes the bytes 0 to 220" in only(files.check())


def test_a_size_that_is_no_multiple_of_four(files: Files) -> None:
    files.dense.write_bytes(b"\0" * 303)
    assert "303 bytes, no multiple of 4" in only(files.check())


def test_weights_that_are_not_finite_are_a_warning_with_their_layer(files: Files) -> None:
    floats = np.zeros(FLOATS)
    floats[-1] = np.nan
    files.write_dense(floats)
    report = files.check()
    assert report.ok
    assert "layers[6] InnerProduct bn1 -> fc2: its weights hold NaN" in "".join(report.warnings)


def test_no_dense_file_at_all(files: Files) -> None:
    report = check({"layers": files.layers}, Weights(sparse=[files.table], ntp=files.statistics))
    assert "no dense file was given; the layers need one of 304 bytes" in only(report)


# The statistics


def test_no_statistics(files: Files) -> None:
    files.statistics.unlink()
    message = only(files.check())
    assert "1 BatchNorm layers need their running statistics" in message
    assert "m_dense_1.model.ntp.json" in message


def test_statistics_of_another_width(files: Files) -> None:
    files.write_statistics([0.0] * 7, [1.0] * 7)
    message = only(files.check())
    assert "has 7 means and variances, the layer has 5 features" in message
    assert "while reading the statistics of layers[5] BatchNorm" in message


def test_statistics_of_more_layers(files: Files) -> None:
    files.write_statistics([0.0] * 5, [1.0] * 5, count=2)
    assert "has 2 BatchNorm entries and the graph 1 BatchNorm layers" in only(files.check())


# The tables


def test_a_table_of_another_width(files: Files) -> None:
    files.write_table([3, 1, 9], [0, 1, 1], 6)
    report = files.check()
    assert "the files would fit embedding_vec_size=2" in only(report)
    assert (report.tables[0].rows, report.tables[0].expected_bytes, report.tables[0].found_bytes) == (3, 48, 24)


def test_no_table(files: Files) -> None:
    report = check({"layers": files.layers}, Weights(files.dense))
    assert "0 tables were given for 1 embedding layers" in only(report)


def test_a_look_up_that_cannot_be_decided_hides_nothing_behind_it(files: Files) -> None:
    """The key 3 under the slots 0 and 1 of four, on 2, 3 or 4 GPUs."""
    files.layers[0]["sparse"][0] |= {"slot_num": 4, "nnz_per_slot": 1}
    files.layers[1]["sparse_embedding_hparam"] = {**EMBEDDING, "embedding_vec_size": 2}
    files.write_table([3, 3, 5], [0, 1, 1], 6)
    files.write_dense(np.zeros(FLOATS + 1))
    report = files.check()
    assert [problem.kind for problem in report.problems] == ["MissingInformationError", "WeightsError"]
    assert files.check(n_gpus=2).problems == report.problems[1:]


def test_a_number_of_gpus_must_fit_the_table(files: Files) -> None:
    """On one GPU one of the two rows would vanish."""
    files.write_table([5, 5], [0, 1], 8)
    assert files.check(n_gpus=2).ok
    assert "with n_gpus=1 a key stands twice on one GPU" in only(files.check(n_gpus=1))
    files.write_table([5, 5], [0, 0], 8)
    assert "a key stands twice under one slot_id" in only(files.check(n_gpus=2))


def test_a_slot_that_the_layer_does_not_have(files: Files) -> None:
    files.write_table([5, 6], [0, 99], 8)
    assert "its slot_id file holds 99, and the layer's slots are 0 to 1" in only(files.check())


def test_hybrid_is_unsupported_and_hides_nothing_behind_it(files: Files) -> None:
    files.layers[1]["type"] = "HybridSparseEmbedding"
    files.write_dense(np.zeros(FLOATS + 1))
    report = check({"layers": files.layers}, Weights(files.dense))
    assert [problem.exit_code for problem in report.problems] == [4, 3]
    assert report.exit_code == 4


# Layers


def test_layers_behind_a_wrong_one_are_not_reached(files: Files) -> None:
    files.layers[4]["fc_param"] = {}
    report = files.check()
    layers = by_top(report)
    assert "layers[4].fc_param.num_output: is missing" in only(report)
    assert (layers["fc1"].status, layers["bn1"].status) == ("wrong", "not reached")
    assert (layers["fc1"].expected_bytes, layers["bn1"].offset) == (None, None)
    assert report.dense is not None
    assert not report.dense.is_complete


def test_wrong_layers_on_two_branches_are_both_told(files: Files) -> None:
    files.layers[2] |= {"selected": [5]}
    files.layers.insert(3, {"type": "InnerProduct", "bottom": "dense", "top": "side", "fc_param": {"num_output": 0}})
    report = files.check()
    messages = " ".join(problem.message for problem in report.problems)
    assert len(report.problems) == 2
    assert "while importing layers[2] Reshape emb -> flat" in messages
    assert "while importing layers[3] InnerProduct dense -> side" in messages


def test_unsupported_layers_are_all_told_and_worst(files: Files) -> None:
    files.layers[4]["type"] = "Outer"
    files.layers[6]["type"] = "Inner"
    files.write_statistics([0.0] * 5, [1.0] * 5, count=2)
    report = files.check()
    assert report.exit_code == 4
    message = next(problem.message for problem in report.problems if problem.exit_code == 4)
    assert "layers[4] Outer" in message
    assert "layers[6] Inner" in message


def test_a_file_too_short_for_what_is_known(files: Files) -> None:
    files.layers[6]["type"] = "Inner"
    files.write_dense(np.zeros(61))
    message = files.check().problems[-1].message
    assert "has 244 bytes and the layers need at least 280" in message


def test_a_file_that_cannot_be_judged_is_not(files: Files) -> None:
    files.layers[6]["type"] = "Inner"
    files.write_dense(np.zeros(1000))
    assert [problem.kind for problem in files.check().problems] == ["UnsupportedError"]


def test_a_bad_input_shape_is_one_problem(files: Files) -> None:
    report = files.check(input_shapes={"extra": (0, 3)})
    assert "input_shapes['extra'] has 0" in only(report)


def test_a_graph_that_cannot_be_read(files: Files) -> None:
    report = check({"layers": []}, files.folder)
    assert "layers: is empty" in only(report)
    assert report.layers == ()


def test_a_table_that_nothing_needs(files: Files) -> None:
    """Two tables for one embedding: one of the two belongs to another graph."""
    report = check({"layers": files.layers}, Weights(files.dense, [files.table, files.table]))
    assert "2 tables were given for 1 embedding layers" in only(report)


def test_graph_and_weights_may_both_be_missing(tmp_path: Path) -> None:
    report = check(tmp_path / "a.json", tmp_path / "folder")
    assert [problem.kind for problem in report.problems] == ["GraphJsonError", "WeightsError"]


# Models of which nothing but look-ups stands in the JSON


def collection_model(folder: Path, keys: np.ndarray) -> tuple[dict[str, Any], dict[str, Any]]:
    """One table of an EmbeddingCollection, read by one look-up, and a Reshape behind it; no dense input."""
    width = 2
    dump = folder / "dump" / "embedding_collection_0"
    dump.mkdir(parents=True)
    meta = np.array([1, 1, 0, 0, 0, 0], "<i4").tobytes() + np.array([len(keys)], "<u8").tobytes()
    (dump / "meta_data").write_bytes(meta + np.array([width], "<i4").tobytes())
    for kind, name, body in ((1, "key0", keys.astype("<i8")), (2, "weight0", np.ones((len(keys), width), "<f4"))):
        (dump / name).write_bytes(np.array([kind, *[0] * 31], "<i4").tobytes() + body.tobytes())
    data = copy.deepcopy(LAYERS[0]) | {"dense": {"top": "dense", "dense_dim": 0}}
    data["sparse"] = [{"top": "k", "slot_num": 1, "nnz_per_slot": [1], "is_fixed_length": True}]
    layers = [data, {"type": "Reshape", "bottom": "vec", "top": "flat", "leading_dim": width}]
    call = {"table": "user", "bottom": "k", "top": "vec", "combiner": "sum"}
    return {"layers": layers}, {"path": str(dump.parent), "lookups": [call]}


def test_a_lost_collection_is_what_is_wrong(tmp_path: Path) -> None:
    graph, _ = collection_model(tmp_path, np.arange(3))
    report = check(graph, {})
    assert "nothing in the JSON produces 'vec'" in only(report)
    assert "describe them with embedding_collection," in only(report)
    assert (report.exit_code, report.layers[0].status, report.forecast) == (3, "wrong", None)


def test_tables_of_a_collection(tmp_path: Path) -> None:
    graph, description = collection_model(tmp_path, np.array([5, -7, 6]))
    report = check(graph, {}, Options(embedding_collection=description, padding_key=-7))
    assert report.ok
    (table,) = report.tables
    assert (table.index, table.top, table.bottom, table.vec_size) == (None, "vec (user)", "k", 2)
    assert (table.rows, table.smallest_key, table.largest_key, table.found_bytes) == (3, -7, 6, 24)
    assert report.warnings == (
        "table user: the padding key -7 is a key of the table, whose row can then not be asked for",
    )


def test_a_map_that_a_collection_cannot_have_is_a_problem(tmp_path: Path) -> None:
    graph, description = collection_model(tmp_path, np.array([0, 2**62]))
    options = Options(embedding_collection=description)
    assert "vec (user) cannot be direct" in only(check(graph, {}, options, keys="direct"))
    assert check(graph, {}, options, keys="indices").ok


# How keys find their rows


@pytest.mark.parametrize("keys", [None, 7, ["direct"], {"emb": None}, {7: "direct"}, {"emb": ["direct"]}, b"direct"])
def test_strategies_of_a_wrong_kind(files: Files, keys: Any) -> None:
    report = check({"layers": files.layers}, files.folder, keys=keys)
    assert [problem.kind for problem in report.problems] == ["OptionError"]


def test_rows_as_inputs_where_the_slot_decides(files: Files) -> None:
    files.write_table([5, 5], [0, 1], 8)
    assert "the slot decides which row is meant" in only(check({"layers": files.layers}, files.folder, keys="indices"))


def test_rows_as_inputs_of_two_tables(files: Files) -> None:
    files.layers.insert(2, {**files.layers[1], "top": "other"})
    files.layers.insert(-2, {"type": "ReLU", "bottom": "other", "top": "unused"})
    report = check({"layers": files.layers}, Weights(files.dense, [files.table] * 2, files.statistics), keys="indices")
    assert "its input keys feeds other too, whose rows are others" in only(report)


@pytest.mark.parametrize(
    ("output", "message"), [(".", "not of a folder"), (7, "7 is not a path: give the path of the file to write")]
)
def test_an_output_that_cannot_be_written(files: Files, output: Any, message: str) -> None:
    target = files.folder / output if isinstance(output, str) else output
    assert message in only(check({"layers": files.layers}, files.folder, output=target))


def test_a_device_is_no_output(files: Files) -> None:
    assert "not a regular file" in only(check({"layers": files.layers}, files.folder, output="/dev/null"))


# What the JSON loses


def cross(files: Files, floats: int) -> CheckReport:
    """dense -> MultiCross of 2 layers, 3 features -> fc."""
    data = copy.deepcopy(LAYERS[0])
    data["sparse"] = []
    layers = [
        data,
        {"type": "MultiCross", "bottom": "dense", "top": "cross", "mc_param": {"num_layers": 2}},
        {"type": "InnerProduct", "bottom": "cross", "top": "fc", "fc_param": {"num_output": 1}},
        {"type": "BinaryCrossEntropyLoss", "bottom": ["fc", "label"], "top": "loss"},
    ]
    files.write_dense(np.zeros(floats))
    files.statistics.unlink()
    return check({"layers": layers}, Weights(files.dense))


def test_what_the_size_tells_is_recovered(tmp_path: Path) -> None:
    """Of 2 layers each has 2 * 3 * p weights and 3 biases, and fc has 3 + 1."""
    report = cross(Files(tmp_path / "model"), 2 * (2 * 3 * 5 + 3) + 4)
    assert report.ok
    assert report.recovered == ("cross: projection_dim 5 follows from the dense file's size",)


def test_a_size_that_tells_nothing_is_too_long(tmp_path: Path) -> None:
    report = cross(Files(tmp_path / "model"), 2 * (2 * 3 * 5 + 3) + 5)
    assert "of a DCN v2 whose projection_dim must be given in layer_attrs" in only(report)


def test_a_lost_shape_is_asked_for_once(files: Files) -> None:
    """Behind this Reshape nothing has weights, so that no size can tell its shape."""
    files.layers[-1]["bottom"] = ["end", "label"]
    files.layers.insert(-1, {"type": "Reshape", "bottom": "fc2", "top": "end", "leading_dim": 0, "time_step": 0})
    files.layers[6]["fc_param"]["num_output"] = 4
    files.write_dense(np.zeros(60 + 10 + 24))
    report = files.check()
    assert [problem.kind for problem in report.problems] == ["MissingInformationError"]
    assert "layers[7] Reshape fc2 -> end" in only(report)


# Places


def test_places_end_where_a_size_is_unknown() -> None:
    layers = [LayerCheck(i, "A", (), (), expected_bytes=size) for i, size in enumerate((8, None, 4))]
    assert [(each.offset, each.found_bytes) for each in place_layers(layers, 6)] == [(0, 6), (None, None), (None, None)]


# Bad input never raises


VALUES = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=3)
VALUES = (
    VALUES | st.lists(VALUES, max_size=3) | st.sampled_from(["emb", "dense", "fc1", "MultiCross", "Reshape", "GRU"])
)


@settings(max_examples=80, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_graph_gives_a_report_that_agrees_with_the_import(files: Files, data: st.DataObject) -> None:
    layers = copy.deepcopy(LAYERS)
    for _ in range(data.draw(st.integers(0, 3))):
        layer = data.draw(st.sampled_from(layers))
        layer[data.draw(st.sampled_from([*layer, "mc_param", "selected", "axis"]))] = data.draw(VALUES)
    report = check({"layers": layers}, files.folder)
    assert report.ok == (report.exit_code == 0) == can_be_imported(layers, files.folder)
    json.dumps(report.to_dict())


def can_be_imported(layers: list[dict[str, Any]], folder: Path) -> bool:
    try:
        loading.load({"layers": layers}, folder)
    except HugeCTR2ONNXError:
        return False
    return True


SHARED = Path(__file__).parents[3] / "shared" / "graphs"


@pytest.mark.skipif(not SHARED.is_dir(), reason="the collected graphs are not here (../shared/graphs)")
def test_every_collected_graph_gives_a_report() -> None:
    graphs = [path for folder in ("real", "emulated") for path in sorted((SHARED / folder).glob("*.json"))]
    assert graphs
    for path in graphs:
        report = check(path)
        assert report.ok == (not report.problems)
        assert report.layers or report.problems
