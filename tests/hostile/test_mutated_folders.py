"""Whole model folders, damaged at random: each compiles and runs, or fails with an error that the damage deserves.

Errors that blame the compiler (CompilerError) or its result (ParityError) count as failures, and so do warnings of numpy.
"""

from __future__ import annotations

import copy
import json
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import hugectr2onnx
from hugectr2onnx import CompilerError, HugeCTR2ONNXError, ParityError
from hugectr2onnx.ir.feeds import feeds_for, smallest_batch
from hugectr2onnx.sample_models import generate_weights

Folder = dict[str, bytes]
GRAPH = "graph.json"


def data(dense: int, labels: dict[str, int], *sparse: tuple[str, list[int]]) -> dict[str, Any]:
    tops, dims = list(labels), list(labels.values())
    entries = [{"top": top, "slot_num": len(nnz), "nnz_per_slot": nnz, "is_fixed_length": False} for top, nnz in sparse]
    label = {"top": tops[0] if len(tops) == 1 else tops, "label_dim": dims[0] if len(dims) == 1 else dims}
    return {"type": "Data", "label": label, "dense": {"top": "dense", "dense_dim": dense}, "sparse": entries}


def embedding(kind: str, bottom: str, top: str, vec: int, combiner: str, **more: Any) -> dict[str, Any]:
    hparam = {"embedding_vec_size": vec, "combiner": combiner, **more}
    return {"type": kind, "bottom": bottom, "top": top, "sparse_embedding_hparam": hparam}


def layer(kind: str, bottom: str | list[str], top: str | list[str], **more: Any) -> dict[str, Any]:
    return {"type": kind, "bottom": bottom, "top": top, **more}


CLICKS = [
    data(3, {"label": 1}, ("data1", [1, 3]), ("data2", [2, 2, 2])),
    embedding("DistributedSlotSparseEmbeddingHash", "data1", "emb1", 4, "mean"),
    embedding("LocalizedSlotSparseEmbeddingHash", "data2", "emb2", 2, "sum"),
    layer("Reshape", "emb1", "flat1", leading_dim=8),
    layer("Reshape", "emb2", "flat2", selected=[0, 2]),
    layer("Concat", ["dense", "flat1", "flat2"], "joined"),
    layer("Slice", "joined", ["joined1", "joined2"], ranges=[[0, 15], [0, 15]]),
    layer("BatchNorm", "joined1", "bn", bn_param={"factor": 0.9, "eps": 1e-5}),
    layer("InnerProduct", "bn", "fc1", fc_param={"num_output": 5}),
    layer("ReLU", "fc1", "relu1"),
    layer("Dropout", "relu1", "dropout1", rate=0.5),
    layer("MultiCross", "joined2", "cross", mc_param={"num_layers": 2}),
    layer("FmOrder2", "flat1", "fm", out_dim=4),
    layer("Concat", ["dropout1", "cross", "fm"], "joined3"),
    layer("InnerProduct", "joined3", "fc2", fc_param={"num_output": 1}),
    layer("BinaryCrossEntropyLoss", ["fc2", "label"], "loss"),
]
SEQUENCES = [
    data(2, {"label": 1}, ("data1", [1, 1, 1, 1])),
    embedding("DistributedSlotSparseEmbeddingHash", "data1", "emb1", 4, "sum", default_emb_vec_value=0.5),
    layer("LayerNorm", "emb1", "ln", ln_param={"eps": 1e-5}),
    layer("Slice", "dense", ["length"], ranges=[[0, 1]]),
    layer("SequenceMask", "length", "mask", max_sequence_len=4),
    layer("MultiHeadAttention", ["ln", "ln"], "scores", num_attention_heads=2, transpose_b=True),
    layer("Softmax", ["scores", "mask"], "probabilities", factor=0.5),
    layer("MultiHeadAttention", ["ln", "ln", "ln"], "attention", num_attention_heads=2),
    layer("ReduceSum", "attention", "summed", axis=1),
    layer("Reshape", "summed", "pooled", leading_dim=4),
    layer("FusedReshapeConcat", ["emb1", "attention"], ["history", "item"]),
    layer("Scale", "item", "items", scale_param={"axis": 1, "factor": 3}),
    layer("Sub", ["items", "history"], "difference"),
    layer("ElementwiseMultiply", ["items", "history"], "product"),
    layer("Concat", ["difference", "product"], "pairs"),
    layer("InnerProduct", "pairs", "weights", fc_param={"num_output": 4}),
    layer("PReLU_Dice", "weights", "dice", prelu_dice_param={"alpha": 0.2, "eps": 1e-5}),
    layer("ReduceMean", "dice", "score", axis=1),
    layer("Reshape", "score", "per_sample", leading_dim=3),
    layer("Softmax", "per_sample", "normal"),
    layer("Scale", "normal", "spread", scale_param={"axis": 0, "factor": 2}),
    layer("GRU", "history", "gru", gru_param={"num_output": 2, "batchsize": 2, "SeqLength": 3, "vector_size": 8}),
    layer("Reshape", "gru", "states", leading_dim=6),
    layer("MatrixMultiply", ["attention", "emb1"], "multiplied"),
    layer("Concat", ["emb1", "multiplied"], "stacked", axis=2),
    layer("Reshape", "stacked", "unstacked", leading_dim=32),
    layer("Concat", ["pooled", "spread", "item", "states", "unstacked"], "joined"),
    layer("InnerProduct", "joined", "fc", fc_param={"num_output": 1}),
    layer("BinaryCrossEntropyLoss", ["fc", "label"], "loss"),
]
TASKS = [
    data(4, {"a": 1, "b": 2}, ("data1", [1, 1, 1])),
    embedding("LocalizedSlotSparseEmbeddingOneHot", "data1", "emb1", 4, "sum", slot_size_array=[3, 2, 4]),
    layer("MLP", "dense", "bottom", mlp_param={"num_outputs": [5, 4], "activation": "Relu", "biases": [True, False]}),
    layer("Interaction", ["bottom", "emb1"], ["inter", "gradient"]),
    layer("FusedInnerProduct", "inter", "fused", fc_param={"num_output": 3}, position="Head", activation="None"),
    layer("WeightMultiply", "dense", "multiplied", weight_dims=[4, 2]),
    layer("ELU", "multiplied", "elu", elu_param={"alpha": 0.7}),
    layer("Sigmoid", "elu", "sigmoid"),
    layer("Add", ["multiplied", "elu", "sigmoid"], "sum"),
    layer("Cast", "sum", "cast"),
    layer("Select", "cast", "selected", dim=1, index=[0, 0, 5]),
    layer("Gather", "cast", "rows", indices=[1, 0]),
    layer("FusedReshapeConcatGeneral", ["emb1", "emb1"], "general"),
    layer("Reshape", "general", "flat", leading_dim=24),
    layer("MultiCross", "flat", "cross", mc_param={"num_layers": 1, "projection_dim": 2}),
    layer("Concat", ["fused", "selected", "cross"], "joined"),
    layer("InnerProduct", "joined", "fca", fc_param={"num_output": 1}),
    layer("InnerProduct", "joined", "fcb", fc_param={"num_output": 2}),
    layer("BinaryCrossEntropyLoss", ["fca", "a"], "lossa"),
    layer("CrossEntropyLoss", ["fcb", "b"], "lossb"),
]
MODELS = {"clicks": CLICKS, "sequences": SEQUENCES, "tasks": TASKS}

SPECIAL: list[Any] = [
    None, True, False, -1, 0, 1, 2, 2**31 - 1, -(2**31), 2**31, 2**63 - 1, -(2**63), 2**64, 10**300, 0.5, -1.5, 1e-45,
    1e-300, 3.4e38, 1e39, 1e308, -1e308, "", " ", "\0", "\ud800", "loss", "a/b", "é", "N", [], [[]], {}, [0], [-1, 4],
    [[0, 1], [1, 2]], [[1, 0]], {"": None}, "Relu", "None", "Dropout", "Slice", "Add", "Concat", "Gather",
    "DistributedSlotSparseEmbeddingHash",
]  # fmt: skip
VALUES = st.one_of(
    st.sampled_from(SPECIAL),
    st.integers(0, 40),
    st.floats(-2, 40, width=32),
    st.lists(st.integers(-1, 20), max_size=4),
    st.text(max_size=3),
)
Draw = Callable[[st.SearchStrategy[Any]], Any]


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Folder]:
    return {name: written({"layers": layers}, tmp_path_factory.mktemp(name)) for name, layers in MODELS.items()}


def written(graph: Any, folder: Path) -> Folder:
    generate_weights(graph, folder, rows=6)
    (folder / GRAPH).write_text(json.dumps(graph))
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def damaged(draw: Draw, original: Folder, scratch: Path) -> Folder:
    """One to four changes, half of the time with weights that fit the changes of the graph."""
    files = dict(original)
    for _ in range(draw(st.sampled_from([1, 1, 1, 2, 3]))):
        mutate(draw, files)
    if draw(st.booleans()):
        files = with_fitting_weights(files, scratch)
        if draw(st.booleans()):
            mutate(draw, files)
    return files


def mutate(draw: Draw, files: Folder) -> None:
    """One change of the JSON (mostly), of the ntp file, or of any bytes."""
    kinds = ["tweak", "tweak", "tweak", "tweak", "value", "value", "copy", "remove", "layers", "bytes", "files"]
    kind = draw(st.sampled_from(kinds))
    if kind == "files":
        change_files(draw, files)
    elif kind == "bytes":
        name = draw(st.sampled_from(sorted(files)))
        files[name] = changed_bytes(draw, files[name])
    else:
        texts = [name for name in files if name.endswith(".json")]
        name = GRAPH if GRAPH in files and draw(st.integers(0, 9)) else draw(st.sampled_from([*sorted(texts), ""]))
        if name in files:
            files[name] = changed_json(draw, kind, files[name])


def change_files(draw: Draw, files: Folder) -> None:
    one, other = draw(st.sampled_from(sorted(files))), draw(st.sampled_from(sorted(files)))
    what = draw(st.sampled_from(["swap", "remove", "empty"]))
    if what == "swap":
        files[one], files[other] = files[other], files[one]
    elif what == "empty":
        files[one] = b""
    elif len(files) > 1:
        del files[one]


def changed_bytes(draw: Draw, content: bytes) -> bytes:
    at = draw(st.integers(0, len(content)))
    what = draw(st.sampled_from(["flip", "cut", "insert", "overwrite"]))
    if what == "cut":
        return content[:at]
    if what == "insert":
        return content[:at] + draw(st.binary(max_size=9)) + content[at:]
    if what == "overwrite":
        # Floats that are not finite or hardly so, and keys at the ends of their range.
        extreme = draw(st.sampled_from([b"\xff" * 8, b"\0\0\x80\x7f" * 2, b"\xff" * 7 + b"\x7f", b"\xff\xff\x7f\x7f"]))
        at -= at % 4
        return content[:at] + extreme + content[at + len(extreme) :]
    return content[:at] + bytes(b ^ draw(st.integers(1, 255)) for b in content[at : at + 1]) + content[at + 1 :]


def changed_json(draw: Draw, kind: str, content: bytes) -> bytes:
    try:
        value = json.loads(content)
    except ValueError:
        return content
    places = list(containers(value))
    if not places:
        return content
    if kind == "layers":
        change_layers(draw, value)
    else:
        holder, key = draw(st.sampled_from(places))
        if kind == "remove":
            del holder[key]
        elif kind == "copy":
            other, where = draw(st.sampled_from(places))
            holder[key] = copy.deepcopy(other[where])
        elif kind == "tweak":
            numbers = [(holder, key) for holder, key in places if is_number(holder[key])]
            holder, key = draw(st.sampled_from(numbers)) if numbers and draw(st.integers(0, 4)) else (holder, key)
            holder[key] = draw(of_the_same_kind(holder[key], places))
        else:
            holder[key] = draw(VALUES)
    return json.dumps(value).encode()


def containers(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every (list or object, index or key) of a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield value, key
        yield from containers(item)


def is_number(value: Any) -> bool:
    """A number or a list of numbers."""
    return all(isinstance(item, int | float) for item in (value if isinstance(value, list) else [value]))


def of_the_same_kind(old: Any, places: list[tuple[Any, Any]]) -> st.SearchStrategy[Any]:
    """Values that the first checks let pass: another name of the graph, another number, a list that is longer."""
    if isinstance(old, list) and old and not is_number(old):
        return st.permutations(old) | st.permutations([*old, *old[:1]]) | st.just(old[1:])
    if isinstance(old, list):
        return st.lists(st.integers(0, 6), min_size=1, max_size=4)
    if isinstance(old, bool) or old is None:
        return st.booleans()
    if isinstance(old, str):
        return st.sampled_from([holder[key] for holder, key in places if isinstance(holder[key], str)])
    if isinstance(old, float):
        return st.floats(-2, 2, width=32) | st.sampled_from([0.0, 1e-45, 3e38, 1e-30])
    return st.integers(0, 12) if isinstance(old, int) else VALUES


def change_layers(draw: Draw, value: Any) -> None:
    layers = value.get("layers") if isinstance(value, dict) else None
    if not isinstance(layers, list) or not layers:
        return
    one, other = (draw(st.integers(0, len(layers) - 1)) for _ in range(2))
    what = draw(st.sampled_from(["delete", "double", "swap", "move"]))
    if what == "delete":
        del layers[one]
    elif what == "double":
        layers.insert(other, copy.deepcopy(layers[one]))
    elif what == "swap":
        layers[one], layers[other] = layers[other], layers[one]
    else:
        layers.insert(other, layers.pop(one))


def with_fitting_weights(files: Folder, folder: Path) -> Folder:
    """Weights of the sizes that a damaged graph asks for, so that the damage reaches the layers; none where it has none."""
    shutil.rmtree(folder, ignore_errors=True)
    try:
        graph = json.loads(files[GRAPH])
    except (KeyError, ValueError):
        return files
    try:
        return written(graph, folder)
    except HugeCTR2ONNXError:
        return files


def attack(files: Folder, folder: Path, level: int) -> hugectr2onnx.CompiledModel | HugeCTR2ONNXError:
    """What becomes of a folder: the model, which also ran, or an error that the input deserves."""
    shutil.rmtree(folder, ignore_errors=True)
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            compiled = hugectr2onnx.compile(folder / GRAPH, folder, level, simplify=False)
        except (CompilerError, ParityError):
            raise
        except HugeCTR2ONNXError as error:
            assert error.describe()
            return error
        batch = 2 * smallest_batch(compiled.ir)
        outputs = compiled.run(feeds_for(compiled.ir, batch, seed=1))
        assert list(outputs) == list(compiled.ir.outputs)
        return compiled


@settings(
    derandomize=True,
    deadline=None,
    max_examples=1500,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(drawn=st.data(), name=st.sampled_from(sorted(MODELS)), level=st.sampled_from([0, 2]))
def test_a_damaged_folder(
    originals: dict[str, Folder], tmp_path: Path, drawn: st.DataObject, name: str, level: int
) -> None:
    attack(damaged(drawn.draw, originals[name], tmp_path / "fitting"), tmp_path / "damaged", level)


@pytest.mark.parametrize("name", sorted(MODELS))
def test_the_folder_as_it_was_compiles(originals: dict[str, Folder], tmp_path: Path, name: str) -> None:
    outcome = attack(originals[name], tmp_path / "whole", 2)
    assert isinstance(outcome, hugectr2onnx.CompiledModel)
