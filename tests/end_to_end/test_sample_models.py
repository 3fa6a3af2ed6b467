"""The sample models, compiled at every level; the files that they are made of; texts and bytes that must not change unseen.

The golden IR texts lie in `ir/`. After a change that is meant to alter them, write them anew and read the difference:

    REGENERATE_IR=1 python -m pytest tests/end_to_end/test_sample_models.py -k ir_text
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import hugectr2onnx
from hugectr2onnx import OutputError, UnsupportedError, WeightsError
from hugectr2onnx.sample_models import SAMPLES, SamplePaths, generate_weights, sample_feeds, write_sample

LEVELS = (0, 1, 2, 3)
IR = Path(__file__).parent / "ir"

# What NVIDIA's users feed and read: dense first, then each sparse input in the order of Data (formats 3.3).
CRITEO = {"dense": ("float32", (13,)), "data1": ("int64", (26, 1))}
RATINGS = {"dense": ("float32", (1,)), "data": ("int64", (2, 1))}
CENSUS = {"data": ("int64", (32, 1))}
INPUTS: dict[str, dict[str, tuple[str, tuple[int | str, ...]]]] = {
    "wdl": {"dense": ("float32", (13,)), "wide_data": ("int64", (2, 1)), "deep_data": ("int64", (26, 1))},
    "dcn": {"dense": ("float32", (13,)), "data1": ("int64", (26, "nnz_data1"))},
    "dcnv2": {"dense": ("float32", (13,)), "data1": ("int64", (26, "nnz_data1"))},
    "deepfm": CRITEO,
    "dlrm": CRITEO,
    "criteo_bn": {"data1": ("int64", (1, "nnz_data1"))},
    "din": {"UserID": ("int64", (1, 1)), "GoodID": ("int64", (5, 1)), "CateID": ("int64", (5, 1))},
    "bst": {
        "dense": ("float32", (1,)),
        "UserID": ("int64", (1, 1)),
        "GoodID": ("int64", (5, 1)),
        "Target_Good": ("int64", (1, 1)),
        "CateID": ("int64", (5, 1)),
        "Target_Cate": ("int64", (1, 1)),
    },
    "mmoe": CENSUS,
    "shared_bottom": CENSUS,
    "ncf": RATINGS,
    "gmf": RATINGS,
    "neumf": RATINGS,
}
OUTPUTS = {"mmoe": ["50k_label", "married_label"], "shared_bottom": ["50k_label", "married_label"]}


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], SamplePaths]:
    """The small sample of a name, written once."""
    written: dict[str, SamplePaths] = {}

    def get(name: str) -> SamplePaths:
        if name not in written:
            written[name] = write_sample(name, tmp_path_factory.mktemp(name))
        return written[name]

    return get


def test_every_sample_has_an_expected_interface() -> None:
    assert sorted(INPUTS) == sorted(SAMPLES)


@pytest.mark.parametrize("name", SAMPLES)
def test_sample_at_every_level(name: str, sample: Callable[[str], SamplePaths]) -> None:
    paths = sample(name)
    feeds = {batch: sample_feeds(paths, batch) for batch in (1, 5)}
    naive: dict[int, dict[str, np.ndarray]] = {}
    for level in LEVELS:
        compiled = hugectr2onnx.compile(paths.graph, paths.weights, level)
        assert compiled.report.parity is not None
        onnx.checker.check_model(compiled.model, full_check=True)
        check_interface(compiled.model, name)
        for batch, inputs in feeds.items():
            found = compiled.run(inputs)
            for label, values in found.items():
                assert values.shape == (batch, 1) and values.dtype == np.float32
                np.testing.assert_allclose(values, naive.setdefault(batch, found)[label], rtol=1e-4, atol=1e-6)


def check_interface(model: onnx.ModelProto, name: str) -> None:
    inputs = {value.name: signature(value) for value in model.graph.input}
    assert list(inputs) == list(INPUTS[name])
    assert inputs == INPUTS[name]
    outputs = {value.name: signature(value) for value in model.graph.output}
    assert outputs == dict.fromkeys(OUTPUTS.get(name, ["label"]), ("float32", (1,)))
    assert list(outputs) == OUTPUTS.get(name, ["label"])


def signature(value: onnx.ValueInfoProto) -> tuple[str, tuple[int, ...]]:
    """Element type, and the dimensions after the batch, which has a name and no number."""
    tensor = value.type.tensor_type
    batch, *others = tensor.shape.dim
    assert batch.dim_param and not batch.HasField("dim_value")
    return str(onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)), tuple(
        dim.dim_param or dim.dim_value for dim in others
    )


@pytest.mark.parametrize("name", SAMPLES)
def test_feeds_hold_known_keys_and_padding_only(name: str, sample: Callable[[str], SamplePaths]) -> None:
    paths = sample(name)
    feeds = sample_feeds(paths, 50)
    widths = {f"nnz_{key}": array.shape[2] for key, array in feeds.items() if array.ndim == 3}
    wanted = {
        key: (dtype, tuple(widths.get(each, each) for each in dims)) for key, (dtype, dims) in INPUTS[name].items()
    }
    assert {key: (str(a.dtype), a.shape[1:]) for key, a in feeds.items()} == wanted
    known = np.concatenate([read_keys(table) for table in paths.weights.tables])
    for array in feeds.values():
        if array.dtype == np.int64:
            assert np.isin(array[array != -1], known).all()
            assert (array[:, :, 0] != -1).mean() > 0.9


@pytest.mark.parametrize("name", SAMPLES)
def test_a_table_has_room_for_its_largest_key(name: str, tmp_path: Path) -> None:
    """NVIDIA's converter holds a row for each number below `max_vocabulary_size_global`; hashed keys have no such bound."""
    paths = write_sample(name, tmp_path, rows=60_000)
    layers = [each for each in json.loads(paths.graph.read_text())["layers"] if "sparse_embedding_hparam" in each]
    for layer, table in zip(layers, paths.weights.tables, strict=True):
        capacity = layer["sparse_embedding_hparam"]["max_vocabulary_size_global"]
        assert capacity >= len(keys := read_keys(table))
        assert capacity > keys.max() or keys.max() > 2**32


def test_frequent_keys_are_frequent(sample: Callable[[str], SamplePaths]) -> None:
    """Of 1000 keys with probabilities of about 1/r, the first ten have 3/7.5 of the mass, half of them 0.5 percent."""
    keys = sample_feeds(sample("dlrm"), 4000)["data1"][:, 0]
    _, counts = np.unique(keys, return_counts=True)
    assert np.sort(counts)[-10:].sum() > 0.3 * len(keys)


@pytest.mark.parametrize("name", ["wdl", "dcnv2", "criteo_bn"])
def test_the_folder_says_all_that_the_paths_say(name: str, sample: Callable[[str], SamplePaths]) -> None:
    """Discovery by prefix and iteration (formats 5), also for a prefix that ends in a digit; ntp; projection_dim."""
    paths = sample(name)
    folder = hugectr2onnx.compile(paths.graph, paths.graph.parent, simplify=False)
    given = hugectr2onnx.compile(paths.graph, paths.weights, simplify=False, layer_attrs=paths.layer_attrs)
    feeds = sample_feeds(paths, 3)
    assert np.array_equal(folder.run(feeds)["label"], given.run(feeds)["label"])


@pytest.mark.parametrize("name", ["wdl", "deepfm", "mmoe"])
def test_raw_keys_with_the_readers_sizes(name: str, sample: Callable[[str], SamplePaths]) -> None:
    """With slot_size_array the graph adds the offsets that the keys in the tables have (formats 4.1)."""
    paths = sample(name)
    assert paths.slot_size_array is not None
    offset_keys = sample_feeds(paths, 20)
    raw_keys = dict(offset_keys)
    first = 0
    for top, array in offset_keys.items():
        if array.dtype == np.int64:
            sizes = paths.slot_size_array[first : first + array.shape[1]]
            offsets = sum(paths.slot_size_array[:first]) + np.cumsum([0, *sizes[:-1]])
            raw_keys[top] = np.where(array < 0, array, array - offsets[:, None])
            first += array.shape[1]
    plain = hugectr2onnx.compile(paths.graph, paths.weights, simplify=False)
    offset = hugectr2onnx.compile(paths.graph, paths.weights, simplify=False, slot_size_array=paths.slot_size_array)
    for label, values in plain.run(offset_keys).items():
        np.testing.assert_allclose(offset.run(raw_keys)[label], values, rtol=1e-6)


def test_empty_tables_give_predictions(tmp_path: Path) -> None:
    paths = write_sample("wdl", tmp_path, rows=0)
    feeds = sample_feeds(paths, 2)
    assert hugectr2onnx.compile(paths.graph, paths.weights).run(feeds)["label"].shape == (2, 1)


# The JSON


def test_text_is_in_the_style_of_graph_to_json(sample: Callable[[str], SamplePaths]) -> None:
    text = sample("wdl").graph.read_text()
    assert text == json.dumps(json.loads(text), indent=2, sort_keys=True)
    # 0.9f, 0.999f and 1e-7f, as in the example of formats 1.9.
    assert '"beta1": 0.8999999761581421' in text
    assert '"beta2": 0.9990000128746033' in text
    assert '"epsilon": 1.0000000116860974e-07' in text


def test_a_tensor_that_is_read_twice_gets_a_slice(sample: Callable[[str], SamplePaths]) -> None:
    """Before its first reader, tops in the order of use, the whole last dimension each (formats 1.6)."""
    layers = json.loads(sample("dcn").graph.read_text())["layers"]
    at = [layer["type"] for layer in layers].index("Slice")
    assert layers[at] == {
        "type": "Slice",
        "bottom": "concat1",
        "top": ["concat1_slice0", "concat1_slice1"],
        "ranges": [[0, 117], [0, 117]],
    }
    assert [layer["bottom"] for layer in layers[at + 1 : at + 3]] == ["concat1_slice0", "concat1_slice1"]


def test_labels_are_in_alphabetical_order(sample: Callable[[str], SamplePaths]) -> None:
    data = json.loads(sample("mmoe").graph.read_text())["layers"][0]
    assert data["label"] == {"top": ["50k_label", "married_label"], "label_dim": [1, 1]}


def test_realistic_wide_and_deep_has_tables_of_10000_and_300000_rows(tmp_path: Path) -> None:
    paths = write_sample("wdl", tmp_path, scale="realistic")
    assert [len(read_keys(table)) for table in paths.weights.tables] == [10_000, 300_000]
    layers = json.loads(paths.graph.read_text())["layers"]
    assert [layer["fc_param"]["num_output"] for layer in layers if "fc_param" in layer] == [1024, 1024, 1]


# The binaries


def read_keys(table: Path) -> np.ndarray:
    return np.fromfile(table / "key", "<i8")


def one_table(type: str, **hparam: Any) -> dict[str, Any]:
    """A graph of one embedding `e` of 2 slots and a linear layer."""
    sparse = {"top": "keys", "slot_num": 2, "nnz_per_slot": [1, 1], "is_fixed_length": True}
    data = {"type": "Data", "label": {"top": "label", "label_dim": 1}, "dense": {"top": "dense", "dense_dim": 0}}
    embedding = {"type": type, "bottom": "keys", "top": "e"}
    hparam = {"embedding_vec_size": 4, "combiner": "sum", **hparam}
    return {
        "layers": [
            {**data, "sparse": [sparse]},
            {**embedding, "sparse_embedding_hparam": hparam},
            {"type": "Reshape", "bottom": "e", "top": "r", "leading_dim": 8},
            {"type": "InnerProduct", "bottom": "r", "top": "fc", "fc_param": {"num_output": 3}},
            {"type": "BatchNorm", "bottom": "fc", "top": "bn", "bn_param": {"factor": 0.9, "eps": 1e-5}},
        ]
    }


def test_sizes_of_the_files(tmp_path: Path) -> None:
    """Formats 2.1, and layers 3.1 and 3.6 for the dense file: 8*3 + 3 floats, then gamma and beta of 3."""
    graph = one_table("LocalizedSlotSparseEmbeddingHash")
    weights = generate_weights(graph, tmp_path, rows=10, prefix="snap/dlrm2", iteration=7)
    sizes = {str(path.relative_to(tmp_path)): path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()}
    ntp = sizes.pop("snap/dlrm2_dense_7.model.ntp.json")
    table = "snap/dlrm20_sparse_7.model"
    assert sizes == {
        "snap/dlrm2_dense_7.model": 4 * (27 + 6),
        f"{table}/key": 8 * 10,
        f"{table}/slot_id": 8 * 10,
        f"{table}/emb_vector": 4 * 10 * 4,
    }
    assert ntp > 0 and weights.ntp == tmp_path / "snap/dlrm2_dense_7.model.ntp.json"


def test_a_distributed_table_has_no_slot_ids(tmp_path: Path) -> None:
    weights = generate_weights(one_table("DistributedSlotSparseEmbeddingHash"), tmp_path)
    assert sorted(os.listdir(weights.tables[0])) == ["emb_vector", "key"]


def test_the_ntp_file_is_printed_as_by_cpp(tmp_path: Path) -> None:
    """Indents of 2, 4 and 6, key order type, mean, var, six digits after the point (layers 2.2)."""
    weights = generate_weights(one_table("DistributedSlotSparseEmbeddingHash"), tmp_path)
    text = Path(str(weights.ntp)).read_text()
    entry = json.loads(text)["layers"][0]
    lists = {name: ", ".join(f"{value:.6f}" for value in entry[name]) for name in ("mean", "var")}
    assert text.rstrip("\n") == (
        '{\n  "layers": [\n    {\n      "type": "BatchNorm",\n      "mean": ['
        + lists["mean"]
        + '],\n      "var": ['
        + lists["var"]
        + "]\n    }\n  ]\n}"
    )


@pytest.mark.parametrize("style", ["offsets", "hashes", "ids"])
def test_keys_are_distinct_and_in_no_order(style: Any, tmp_path: Path) -> None:
    graph = one_table("DistributedSlotSparseEmbeddingHash")
    keys = read_keys(generate_weights(graph, tmp_path, rows=500, keys=style).tables[0])
    assert len(np.unique(keys)) == len(keys) == 500
    assert (np.diff(keys) < 0).any() and keys.min() >= 0
    assert (keys.max() > 1 << 32) == (style == "hashes")


def test_offset_keys_tell_their_slot(tmp_path: Path) -> None:
    graph = one_table("LocalizedSlotSparseEmbeddingHash", slot_size_array=[30, 70])
    table = generate_weights(graph, tmp_path, rows=50, keys="offsets").tables[0]
    slots = np.fromfile(table / "slot_id", "<u8")
    assert np.array_equal(slots, read_keys(table) >= 30)
    assert read_keys(table).max() < 100


def test_a_one_hot_table_holds_its_whole_vocabulary(tmp_path: Path) -> None:
    """key = sizes of the slots before + j for every j, slot_id = slot (formats 2.1)."""
    graph = one_table("LocalizedSlotSparseEmbeddingOneHot", slot_size_array=[3, 5])
    weights = generate_weights(graph, tmp_path, rows=2)
    rows = dict(zip(read_keys(weights.tables[0]), np.fromfile(weights.tables[0] / "slot_id", "<u8"), strict=True))
    assert rows == {0: 0, 1: 0, 2: 0, 3: 1, 4: 1, 5: 1, 6: 1, 7: 1}
    assert hugectr2onnx.compile(graph, weights).report.parity is not None


# What cannot be written


def test_a_vocabulary_that_is_too_large_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    graph = one_table("LocalizedSlotSparseEmbeddingOneHot", slot_size_array=[2**40, 1])
    with pytest.raises(WeightsError, match="slot_size_array"):
        generate_weights(graph, tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("rows", [-1, True, "many", {"f": 3}, 2**50])
def test_rows_that_no_table_can_have(rows: Any, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="rows"):
        generate_weights(one_table("DistributedSlotSparseEmbeddingHash"), tmp_path, rows=rows)
    with pytest.raises(WeightsError, match="rows"):
        write_sample("wdl", tmp_path, rows=rows)
    assert not os.listdir(tmp_path)


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot write"):
        write_sample("gmf", tmp_path / "file" / "folder")


def test_a_name_that_is_no_sample(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="no sample 'wld'; there are wdl, dcn"):
        write_sample("wld", tmp_path)


@pytest.mark.parametrize("name", ["gmf_dense_0.model", "gmf0_sparse_0.model", "gmf_dense_0.model.ntp.json"])
def test_a_snapshot_that_is_there_is_not_replaced(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"trained for weeks")
    with pytest.raises(OutputError, match=f"{name}: it is there already; choose a folder that is empty or new"):
        write_sample("gmf", tmp_path)
    assert os.listdir(tmp_path) == [name]
    assert (tmp_path / name).read_bytes() == b"trained for weeks"


# What must not change unseen


@pytest.mark.parametrize("level", [0, 2])
@pytest.mark.parametrize("name", ["wdl", "dcn"])
def test_ir_text(name: str, level: int, sample: Callable[[str], SamplePaths]) -> None:
    paths = sample(name)
    text = f"{hugectr2onnx.compile(paths.graph, paths.weights, level, check=False).ir}\n"
    golden = IR / f"{name}_O{level}.txt"
    if os.environ.get("REGENERATE_IR"):
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(text)
    assert text == golden.read_text()


BYTES = """
import hashlib, sys
from pathlib import Path
import hugectr2onnx
from hugectr2onnx.sample_models import write_sample
folder = Path(sys.argv[1])
for name in ("wdl", "mmoe", "bst", "criteo_bn"):
    paths = write_sample(name, folder)
    for level in (0, 3):
        model = hugectr2onnx.compile(paths.graph, paths.weights, level).model
        print(name, level, hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest())
"""


def test_the_same_inputs_give_the_same_bytes_whatever_the_hash_seed(tmp_path: Path) -> None:
    printed, digests = [], []
    for seed in ("1", "2"):
        folder = tmp_path / seed
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        command = [sys.executable, "-c", BYTES, str(folder)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=True)
        printed.append(done.stdout)
        digests.append({str(path.relative_to(folder)): digest(path) for path in folder.rglob("*") if path.is_file()})
    assert printed[0] == printed[1] and printed[0].count("\n") == 8
    assert digests[0] == digests[1]


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
