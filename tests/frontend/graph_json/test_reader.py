"""Graph JSON: every generation of the format gives the same clauses; anything else gives one clear error."""

from __future__ import annotations

import copy
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hugectr2onnx.errors import GraphJsonError, HugeCTR2ONNXError, UnsupportedError
from hugectr2onnx.frontend.graph_json import json_text
from hugectr2onnx.frontend.graph_json.clauses import GraphClauses, Label, SparseInput
from hugectr2onnx.frontend.graph_json.fields import Fields
from hugectr2onnx.frontend.graph_json.reader import read

SHARED = Path(__file__).resolve().parents[4] / "shared" / "graphs"
KNOWN = ("InnerProduct", "BinaryCrossEntropyLoss", "Slice", "Add")

# The example of formats 1.9, with one dense layer and a loss.
WRITTEN_BY_25_03: dict[str, Any] = {
    "layers": [
        {
            "dense": {"dense_dim": 13, "top": "dense"},
            "label": {"label_dim": 1, "top": "label"},
            "sparse": [{"is_fixed_length": True, "nnz_per_slot": [2], "slot_num": 1, "top": "wide_data"}],
            "type": "Data",
        },
        {
            "bottom": "wide_data",
            "optimizer": {"adam_hparam": {"beta1": 0.8999999761581421}, "type": "Adam", "update_type": "Global"},
            "sparse_embedding_hparam": {
                "combiner": "sum",
                "embedding_vec_size": 1,
                "max_vocabulary_size_global": 6029312,
                "workspace_size_per_gpu_in_mb": 69,
            },
            "top": "sparse_embedding2",
            "type": "DistributedSlotSparseEmbeddingHash",
        },
        {
            "type": "InnerProduct",
            "bottom": "dense",
            "top": "fc1",
            "name": "ignored",
            "fc_param": {"num_output": 1, "weight_init": "Uniform"},
        },
        {"type": "BinaryCrossEntropyLoss", "bottom": ["fc1", "label"], "top": "loss"},
    ]
}


def changed(path: str, value: Any) -> dict[str, Any]:
    """The example with one field replaced; `...` removes it."""
    graph = copy.deepcopy(WRITTEN_BY_25_03)
    node: Any = graph
    *parents, last = [int(key) if key.isdigit() else key for key in path.split("/")]
    for key in parents:
        node = node[key]
    if value is ...:
        del node[last]
    else:
        node[last] = value
    return graph


def with_layers(*layers: dict[str, Any], label: Any = None) -> GraphClauses:
    data = {"type": "Data", "dense": {"top": "dense", "dense_dim": 3}, "sparse": []}
    return read({"layers": [data | ({"label": label} if label else {}), *layers]}, KNOWN)


def loss(prediction: str, label: str) -> dict[str, Any]:
    return {"type": "BinaryCrossEntropyLoss", "bottom": [prediction, label], "top": f"loss_{label}"}


class TestClauses:
    def test_the_data_layer(self) -> None:
        data = read(WRITTEN_BY_25_03, KNOWN).data
        assert (data.dense_top, data.dense_dim, data.labels) == ("dense", 13, (Label("label", 1),))
        assert data.sparse == (SparseInput("wide_data", slot_num=1, nnz_per_slot=(2,), is_fixed_length=True),)

    def test_an_embedding(self) -> None:
        embedding = read(WRITTEN_BY_25_03, KNOWN).embeddings[0]
        assert (embedding.index, embedding.bottom, embedding.top) == (1, "wide_data", "sparse_embedding2")
        assert (embedding.vec_size, embedding.combiner, embedding.default_value) == (1, "sum", 0.0)

    def test_a_dense_layer_keeps_its_parameters_but_for_initialisers_and_name(self) -> None:
        layer = read(WRITTEN_BY_25_03, KNOWN).layers[0]
        assert layer.params == {"fc_param": {"num_output": 1}}
        assert layer.where == "layers[2] InnerProduct dense -> fc1"

    def test_a_parsed_object_is_read_and_not_changed(self) -> None:
        before = copy.deepcopy(WRITTEN_BY_25_03)
        read(WRITTEN_BY_25_03, KNOWN)
        assert before == WRITTEN_BY_25_03

    def test_a_file_with_a_byte_order_mark(self, tmp_path: Path) -> None:
        path = tmp_path / "graph.json"
        path.write_bytes(b"\xef\xbb\xbf" + json.dumps(WRITTEN_BY_25_03).encode())
        assert read(path, KNOWN) == read(WRITTEN_BY_25_03, KNOWN)

    def test_model_name_from_v3_3_on(self) -> None:
        assert read(WRITTEN_BY_25_03 | {"model_name": "wdl"}, KNOWN).model_name == "wdl"

    def test_whole_floats_are_integers(self) -> None:
        assert read(changed("layers/0/dense/dense_dim", 13.0), KNOWN).data.dense_dim == 13

    def test_hand_written_nnz_is_one_number_for_all_slots(self) -> None:
        entry = {"top": "wide_data", "slot_num": 3, "nnz_per_slot": 2, "is_fixed_length": False}
        assert read(changed("layers/0/sparse/0", entry), KNOWN).data.sparse[0].nnz_per_slot == (2, 2, 2)

    @pytest.mark.parametrize("path", ["layers/0/dense/top", "layers/0/sparse/0/top", "layers/0/label/top"])
    def test_names_of_the_data_layer_may_stand_in_a_list_of_one(self, path: str) -> None:
        name = {"dense": "dense", "sparse": "wide_data", "label": "label"}[path.split("/")[2]]
        assert read(changed(path, [name]), KNOWN).data == read(WRITTEN_BY_25_03, KNOWN).data

    @pytest.mark.parametrize(
        ("old", "nnz"),
        [
            ({"max_feature_num_per_sample": 30, "max_nnz": 1}, 1),
            ({"max_feature_num_per_sample": 26}, 1),
            ({"max_feature_num_per_sample": 30}, 30),
        ],
    )
    def test_nnz_of_v2_and_v3_0(self, old: dict[str, int], nnz: int) -> None:
        entry = {"top": "wide_data", "type": "DistributedSlot", "slot_num": 26} | old
        assert read(changed("layers/0/sparse/0", entry), KNOWN).data.sparse[0].max_nnz == nnz

    @pytest.mark.parametrize(("written", "meant"), [("sum", "sum"), ("mean", "mean"), (0, "sum"), (1, "mean")])
    def test_combiners(self, written: object, meant: str) -> None:
        graph = changed("layers/1/sparse_embedding_hparam/combiner", written)
        assert read(graph, KNOWN).embeddings[0].combiner == meant

    def test_the_default_vector_that_hps_reads(self) -> None:
        graph = changed("layers/1/sparse_embedding_hparam/default_emb_vec_value", 0.5)
        assert read(graph, KNOWN).embeddings[0].default_value == 0.5

    @pytest.mark.parametrize(("stated", "width"), [("I32", 4), ("I64", 8)])
    def test_the_key_type_of_hand_written_files(self, stated: str, width: int) -> None:
        assert read(WRITTEN_BY_25_03 | {"solver": {"input_key_type": stated}}, KNOWN).key_bytes == width

    @pytest.mark.parametrize("label", [None, {"label_dim": 1}])
    def test_inference_files_may_leave_out_the_label(self, label: object) -> None:
        assert with_layers({"type": "Sigmoid", "bottom": ["dense"], "top": "p"}, label=label).data.labels == ()

    def test_sparse_and_dense_may_be_absent(self) -> None:
        assert read({"layers": [{"type": "Data"}]}, KNOWN).data.dense_dim == 0


class TestLabels:
    TWO = (Label("a", 1), Label("b", 2))
    SPLIT = {"type": "Slice", "bottom": "combined_multi_label", "top": ["a", "b"], "ranges": [[0, 1], [1, 3]]}

    def test_v4_1_lists(self) -> None:
        clauses = with_layers(loss("p", "a"), loss("q", "b"), label={"top": ["a", "b"], "label_dim": [1, 2]})
        assert clauses.data.labels == self.TWO

    def test_v3_9_slices_a_declared_combined_label(self) -> None:
        clauses = with_layers(self.SPLIT, loss("p", "a"), label={"top": "combined_multi_label", "label_dim": 3})
        assert clauses.data.labels == self.TWO
        assert [layer.type for layer in clauses.layers] == ["BinaryCrossEntropyLoss"]
        assert (clauses.label_of["a"], clauses.label_of["b"]) == ("a", "b")

    def test_v3_5_declares_the_first_label_only(self) -> None:
        clauses = with_layers(self.SPLIT, loss("p", "a"), label={"top": "a", "label_dim": 1})
        assert clauses.data.labels == self.TWO

    def test_v3_5_label_that_its_slice_lacks(self) -> None:
        with pytest.raises(GraphJsonError, match='"x" of the Data layer is no top of the Slice'):
            with_layers(self.SPLIT, label={"top": "x", "label_dim": 1})

    def test_an_automatic_slice_copies_a_label(self) -> None:
        tops = ["label_slice0", "label_slice1"]
        copies = {"type": "Slice", "bottom": "label", "top": tops, "ranges": [[0, 1], [0, 1]]}
        clauses = with_layers(copies, loss("p", "label_slice0"), label={"top": "label", "label_dim": 1})
        assert clauses.data.labels == (Label("label", 1),)
        assert clauses.label_of["label_slice1"] == "label"

    def test_copies_of_a_slice_of_the_combined_label(self) -> None:
        copies = {"type": "Slice", "bottom": "a", "top": ["a_slice0", "a_slice1"], "ranges": [[0, 1], [0, 1]]}
        clauses = with_layers(self.SPLIT, copies, label={"top": "combined_multi_label", "label_dim": 3})
        assert clauses.data.labels == self.TWO
        assert clauses.label_of["a_slice0"] == "a"

    @pytest.mark.parametrize(
        "layer", [{"type": "Cast"}, {"type": "Reshape", "leading_dim": 1}, {"type": "Reshape", "leading_dim": 0}]
    )
    def test_a_layer_that_passes_a_label_on_gives_it_another_name(self, layer: dict[str, Any]) -> None:
        passed = {**layer, "bottom": ["label"], "top": "passed"}
        clauses = with_layers(passed, loss("p", "passed"), label={"top": "label", "label_dim": 1})
        assert clauses.data.labels == (Label("label", 1),)
        assert [layer.type for layer in clauses.layers] == ["BinaryCrossEntropyLoss"]
        assert clauses.label_of["passed"] == "label"

    def test_labels_that_are_split_after_a_cast(self) -> None:
        cast = {"type": "Cast", "bottom": "combined_multi_label", "top": "cast"}
        split = {**self.SPLIT, "bottom": "cast"}
        clauses = with_layers(cast, split, loss("p", "b"), label={"top": "combined_multi_label", "label_dim": 3})
        assert clauses.data.labels == self.TWO

    def test_a_cast_of_a_feature_stays(self) -> None:
        cast = {"type": "Cast", "bottom": "dense", "top": "cast"}
        assert [layer.type for layer in with_layers(cast, label={"top": "label", "label_dim": 1}).layers] == ["Cast"]

    def test_a_range_beyond_the_label(self) -> None:
        with pytest.raises(GraphJsonError, match="beyond the 2 columns"):
            with_layers(self.SPLIT, label={"top": "combined_multi_label", "label_dim": 2})

    def test_a_label_name_that_a_layer_produces_too(self) -> None:
        with pytest.raises(GraphJsonError, match='"label" is produced twice, by a label and layers'):
            with_layers({"type": "ReLU", "bottom": "dense", "top": "label"}, label={"top": "label", "label_dim": 1})


class TestLostTypes:
    @pytest.mark.parametrize(
        ("layer", "type_name"),
        [
            ({"bottom": ["dense", "label"], "target_weight": [1.0, 1.0]}, "MultiCrossEntropyLoss"),
            ({"bottom": "dense", "scale_param": {"axis": 0, "factor": 2}}, "Scale"),
            ({"bottom": "dense", "indices": [0]}, "Gather"),
            ({"bottom": "dense", "axis": 1}, "ReduceMean"),
            ({"bottom": "dense", "prelu_dice_param": {"alpha": 0.2, "eps": 1e-8}}, "PReLU_Dice"),
            ({"bottom": ["dense", "label"]}, "CrossEntropyLoss"),
        ],
    )
    def test_the_parameters_tell(self, layer: dict[str, Any], type_name: str) -> None:
        clauses = with_layers({"type": "", "top": "x"} | layer, label={"top": "label", "label_dim": 2})
        assert clauses.layers[0].type == type_name
        assert type_name in clauses.warnings[0]

    def test_a_wide_label_belongs_to_multi_cross_entropy(self) -> None:
        layer = {"type": "", "top": "x", "bottom": ["dense", "label"]}
        assert with_layers(layer, label={"top": "label", "label_dim": 3}).layers[0].type == "MultiCrossEntropyLoss"

    def test_a_narrow_label_leaves_the_type_of_a_loss_open(self) -> None:
        layer = {"type": "", "top": "x", "bottom": ["dense", "label"]}
        clauses = with_layers(layer, label={"top": "label", "label_dim": 1})
        assert clauses.layers[0].is_type_open
        assert "MultiCrossEntropyLoss if the prediction has not two columns" in clauses.warnings[0]

    def test_layers_that_cannot_be_told_are_all_listed(self) -> None:
        with pytest.raises(UnsupportedError, match=r"2 layers.*layers\[1\] a, b -> x; layers\[2\] x, c -> y"):
            with_layers({"type": "", "bottom": ["a", "b"], "top": "x"}, {"type": "", "bottom": ["x", "c"], "top": "y"})


REFUSED: list[tuple[str, Any, str]] = [
    ("layers", ..., 'no "layers"'),
    ("layers", [], "layers: is empty"),
    ("layers", {}, "layers: expected a list, found an object of 0 keys"),
    ("layers/0", 7, r"layers\[0\]: expected an object, found 7"),
    ("layers/0/type", "Date", r'layers\[0\].type: expected "Data", found the string "Date"'),
    ("layers/2/type", "Data", r"layers\[2\]: is a second Data layer"),
    ("layers/2/type", ..., r"layers\[2\].type: is missing"),
    ("layers/2/type", None, r"layers\[2\].type: expected a string, found null"),
    ("layers/2/bottom", "", r"layers\[2\].bottom: expected the name of a tensor"),
    ("layers/2/bottom", [], r"layers\[2\].bottom: expected at least one name"),
    ("layers/2/bottom", ["dense", 3], r"layers\[2\].bottom\[1\]: expected a string, found 3"),
    ("layers/2/top", ..., r"layers\[2\].top: is missing"),
    ("layers/2/top", "a\0b", "without control characters"),
    ("layers/2/top", "x" * 2000, "at most 1000 characters"),
    ("layers/2/top", "\ud800", "half of a surrogate pair"),
    ("layers/2/top", "dense", r'"dense" is produced twice, by layers\[0\].dense and layers\[2\] InnerProduct'),
    ("layers/3/top", "fc1", '"fc1" is produced twice'),
    ("layers/2/top", "sparse_embedding2", '"sparse_embedding2" is produced twice'),
    ("layers/0/dense", [], r"layers\[0\].dense: expected an object, found a list of 0"),
    ("layers/0/dense/dense_dim", -1, r"layers\[0\].dense.dense_dim: expected an integer from 0"),
    ("layers/0/dense/dense_dim", "13", r'layers\[0\].dense.dense_dim: expected an integer, found the string "13"'),
    ("layers/0/dense/dense_dim", True, r"layers\[0\].dense.dense_dim: expected an integer, found true"),
    ("layers/0/dense/dense_dim", 13.5, r"expected an integer, found 13.5"),
    ("layers/0/dense/dense_dim", 10**200, "found an integer of 665 bits"),
    ("layers/0/dense/top", ["dense", "more"], r"layers\[0\].dense.top: expected one name, found a list of 2"),
    ("layers/0/sparse/0/top", [], r"layers\[0\].sparse\[0\].top: expected at least one name"),
    ("layers/0/label/label_dim", [1, 1], "label_dim: expected 1 dimension"),
    ("layers/0/sparse/0/slot_num", 0, r"layers\[0\].sparse\[0\].slot_num: expected an integer from 1"),
    ("layers/0/sparse/0/slot_num", 2**31, "slot_num: expected an integer from 1"),
    ("layers/0/sparse/0/nnz_per_slot", 0, "nnz_per_slot: expected an integer from 1"),
    ("layers/0/sparse/0/nnz_per_slot", [1, 1], "nnz_per_slot: expected 1 numbers, one for each slot"),
    ("layers/0/sparse/0/nnz_per_slot", 2**30, "keys a sample"),
    ("layers/0/sparse/0/nnz_per_slot", ..., "nnz_per_slot, max_nnz or max_feature_num_per_sample"),
    ("layers/0/sparse/0/is_fixed_length", 1, "is_fixed_length: expected true or false, found 1"),
    ("layers/1/bottom", "other", r"layers\[1\].bottom: expected a sparse input of the Data layer \(wide_data\)"),
    ("layers/1/bottom", ["wide_data", "dense"], "bottom: expected one name, found a list of 2"),
    ("layers/1/sparse_embedding_hparam", ..., r"layers\[1\].sparse_embedding_hparam.embedding_vec_size: is missing"),
    ("layers/1/sparse_embedding_hparam", "x", r"layers\[1\].sparse_embedding_hparam: expected an object"),
    ("layers/1/sparse_embedding_hparam/embedding_vec_size", 0, "embedding_vec_size: expected an integer from 1"),
    ("layers/1/sparse_embedding_hparam/combiner", "concat", '"sum" or "mean"'),
    ("layers/1/sparse_embedding_hparam/combiner", True, '"sum" or "mean"'),
    ("layers/1/sparse_embedding_hparam/default_emb_vec_value", 1e39, "default_emb_vec_value: expected a float32"),
    ("layers/1/type", "LocalizedSlotSparseEmbeddingOneHot", "slot_size_array: expected 1 sizes"),
]


class TestRefused:
    @pytest.mark.parametrize(("path", "value", "message"), REFUSED, ids=[f"{p}={str(v)[:20]!r}" for p, v, _ in REFUSED])
    def test_one_field_is_wrong(self, path: str, value: Any, message: str) -> None:
        with pytest.raises(GraphJsonError, match=message):
            read(changed(path, value), KNOWN)

    @pytest.mark.parametrize("type_name", ["SparseEmbedding", "SparseEmbeddingHash"])
    def test_embeddings_of_v1(self, type_name: str) -> None:
        with pytest.raises(UnsupportedError, match=f"{type_name} is an embedding of HugeCTR v1.x"):
            read(changed("layers/1/type", type_name), KNOWN)

    def test_an_embedding_that_nobody_knows(self) -> None:
        with pytest.raises(UnsupportedError, match="the nearest is DistributedSlotSparseEmbeddingHash"):
            read(changed("layers/1/type", "DistributedSlotSparseEmbedding"), KNOWN)

    def test_the_file_is_named_in_a_note(self, tmp_path: Path) -> None:
        path = tmp_path / "graph.json"
        path.write_text(json.dumps(changed("layers/2/top", "")))
        with pytest.raises(GraphJsonError) as caught:
            read(path, KNOWN)
        assert str(path) in caught.value.describe()

    @pytest.mark.parametrize("graph", [None, 3, [], b"graph.json", "{}", "\0", "x" * 5000])
    def test_what_is_no_graph(self, graph: Any) -> None:
        with pytest.raises(GraphJsonError, match=r"the graph is |: cannot be read: "):
            read(graph, KNOWN)

    def test_objects_that_are_not_json(self) -> None:
        with pytest.raises(GraphJsonError, match="a Python set is not a JSON value"):
            read({"layers": {1, 2}}, KNOWN)

    def test_objects_that_hold_themselves(self) -> None:
        graph: dict[str, Any] = {}
        graph["layers"] = graph
        with pytest.raises(GraphJsonError, match="nested deeper"):
            read(graph, KNOWN)

    def test_objects_that_share_one_list_a_million_times(self) -> None:
        node: list[Any] = []
        for _ in range(40):
            node = [node, node]
        with pytest.raises(GraphJsonError, match="more than 1000000 values"):
            read({"layers": node}, KNOWN)


class TestText:
    @pytest.mark.parametrize(
        ("text", "message"),
        [
            (b"", "is empty"),
            (b"  \n", "is empty"),
            (b'{"layers": [\n  {"type": "Da', r"ends too early .*line 2, column 12\); the file is truncated"),
            (b'{"layers": [', "truncated"),
            (b'{"layers": [}', "is not JSON: Expecting value at line 1, column 13"),
            (b'{"layers": []} x', "something follows the end of the JSON value at line 1, column 16"),
            (b'{"layers": NaN}', "NaN is not JSON"),
            (b'{"layers": -Infinity}', "-Infinity is not JSON"),
            (b'{"layers": 1e999}', "the number 1e999 does not fit"),
            (b'{"layers": ' + b"9" * 5000 + b"}", "a number has 5000 digits"),
            (b'{"top": "a", "type": "Add", "type": "Sub"}', 'the key "type" appears twice .*top "a"'),
            (b"[" * 10_000, "nested deeper than 100 levels at line 1"),
            (b"[" * 10_000 + b"]" * 10_000, "nested deeper"),
            (b'{"a":' * 200_000, "nested deeper"),
            (b"\xff\xfe{\x00}\x00", "is not UTF-8 text"),
            (b"\x80\x04\x95", "is not UTF-8 text"),
            (b"[]", "expected an object, found a list of 0"),
            (b"null", "expected an object, found null"),
        ],
    )
    def test_text_that_is_no_graph(self, tmp_path: Path, text: bytes, message: str) -> None:
        path = tmp_path / "graph.json"
        path.write_bytes(text)
        with pytest.raises(GraphJsonError, match=message):
            read(path, KNOWN)

    def test_brackets_inside_strings_are_not_depth(self) -> None:
        assert json_text.parse(json.dumps("[" * 500 + '\\"'), "x") == "[" * 500 + '\\"'

    def test_no_such_file(self, tmp_path: Path) -> None:
        with pytest.raises(GraphJsonError, match="no such file"):
            read(tmp_path / "graph.json", KNOWN)

    def test_a_folder(self, tmp_path: Path) -> None:
        with pytest.raises(GraphJsonError, match="is a folder"):
            read(tmp_path, KNOWN)

    def test_a_pipe_is_not_waited_for(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(GraphJsonError, match="is a pipe, expected a JSON file"):
            read(tmp_path / "pipe", KNOWN)

    def test_a_link_to_itself(self, tmp_path: Path) -> None:
        (tmp_path / "loop").symlink_to(tmp_path / "loop")
        with pytest.raises(GraphJsonError, match="cannot be read"):
            read(tmp_path / "loop", KNOWN)


class TestFields:
    FIELDS = Fields({"fc_param": {"num_output": 4, "rate": 0.5}, "ranges": [[0, 2], [2, 2]]}, "layers[7]")

    def test_dotted_paths(self) -> None:
        assert self.FIELDS.integer("fc_param.num_output") == 4

    def test_the_default_of_an_absent_field(self) -> None:
        assert self.FIELDS.integer("axis", 1) == 1

    def test_an_absent_field_names_its_path(self) -> None:
        with pytest.raises(GraphJsonError, match=r"^layers\[7\].fc_param.axis: is missing$"):
            self.FIELDS.integer("fc_param.axis")

    def test_a_path_through_something_else(self) -> None:
        with pytest.raises(GraphJsonError, match=r"^layers\[7\].fc_param.rate: expected an object, found 0.5$"):
            self.FIELDS.integer("fc_param.rate.x")

    def test_an_empty_range(self) -> None:
        with pytest.raises(GraphJsonError, match=r"layers\[7\].ranges\[1\]: the range \[2, 2\) is empty"):
            self.FIELDS.ranges("ranges")


# 004 and 005: hand-written, one top name twice. 058 and 082: v2 Data layers with v1 embeddings. 085 on: v1.x.
FAILING = {
    "004": (GraphJsonError, '"reduce_item_his" is produced twice'),
    "005": (GraphJsonError, '"reduce_item_his" is produced twice'),
    "058": (UnsupportedError, "SparseEmbedding is an embedding of HugeCTR v1.x"),
    "082": (UnsupportedError, "SparseEmbedding is an embedding of HugeCTR v1.x"),
} | dict.fromkeys(
    ("085", "087", "088", "090", "092", "093", "094", "095"), (UnsupportedError, "a configuration of HugeCTR v1.x")
)


@pytest.mark.skipif(not SHARED.is_dir(), reason="the collected graphs in ../shared are absent")
class TestCollectedGraphs:
    @pytest.mark.parametrize("path", sorted(SHARED.glob("real/*.json")), ids=lambda path: path.stem)
    def test_real(self, path: Path) -> None:
        if path.name[:3] not in FAILING:
            assert read(path, KNOWN).layers
            return
        kind, message = FAILING[path.name[:3]]
        with pytest.raises(kind, match=message):
            read(path, KNOWN)

    @pytest.mark.parametrize("path", sorted(SHARED.glob("emulated/*.json")), ids=lambda path: path.stem)
    def test_emulated(self, path: Path) -> None:
        assert read(path, KNOWN).layers

    def test_every_top_of_a_real_graph_arrives(self) -> None:
        clauses = read(SHARED / "real" / "001_nnz_list_deepfm.json", KNOWN)
        assert (len(clauses.embeddings), clauses.embeddings[0].vec_size, clauses.data.sparse[0].slot_num) == (1, 11, 26)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["Data", "dense"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def all_paths(node: Any, prefix: str = "") -> list[str]:
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [path for key, item in items for path in (f"{prefix}{key}", *all_paths(item, f"{prefix}{key}/"))]


@settings(max_examples=150, deadline=None, derandomize=True)
@given(path=st.sampled_from(all_paths(WRITTEN_BY_25_03)), value=VALUES | st.just(...))
def test_any_change_of_one_field_gives_clauses_or_our_error(path: str, value: Any) -> None:
    with suppress(HugeCTR2ONNXError):
        assert isinstance(read(changed(path, value), KNOWN), GraphClauses)


@settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_any_bytes_give_clauses_or_our_error(tmp_path: Path, data: st.DataObject) -> None:
    valid = json.dumps(WRITTEN_BY_25_03).encode()
    at = data.draw(st.integers(0, len(valid)))
    text = valid[:at] + data.draw(st.binary(max_size=8)) + valid[at + data.draw(st.integers(0, 8)) :]
    path = tmp_path / "graph.json"
    path.write_bytes(data.draw(st.sampled_from([text, text[:at], data.draw(st.binary(max_size=40))])))
    with suppress(HugeCTR2ONNXError):
        assert isinstance(read(path, KNOWN), GraphClauses)
