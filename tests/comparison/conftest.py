"""A small HugeCTR model, and the same model as another converter writes it: tensors named after HugeCTR's tops."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from hugectr2onnx.frontend.weights.snapshot import Weights

WIDTH, NNZ, VECTOR, ROWS = 4, 3, 4, 12
SHAPES = {
    "fc1.weight": (4, 4),
    "fc1.bias": (4,),
    "bn1.gamma": (4,),
    "bn1.beta": (4,),
    "fc2.weight": (8, 4),
    "fc2.bias": (4,),
    "fc3.weight": (8, 1),
    "fc3.bias": (1,),
}
LAYERS: list[dict[str, Any]] = [
    {
        "type": "Data",
        "label": {"top": "label", "label_dim": 1},
        "dense": {"top": "dense", "dense_dim": WIDTH},
        "sparse": [
            {"top": "keys", "slot_num": 1, "nnz_per_slot": [NNZ], "is_fixed_length": False},
            {"top": "words", "slot_num": 1, "nnz_per_slot": [NNZ], "is_fixed_length": False},
        ],
    },
    {
        "type": "DistributedSlotSparseEmbeddingHash",
        "bottom": "keys",
        "top": "emb",
        "sparse_embedding_hparam": {"embedding_vec_size": VECTOR, "combiner": "mean"},
    },
    {
        "type": "DistributedSlotSparseEmbeddingHash",
        "bottom": "words",
        "top": "emb2",
        "sparse_embedding_hparam": {"embedding_vec_size": VECTOR, "combiner": "sum"},
    },
    {"type": "Reshape", "bottom": "emb", "top": "flat", "leading_dim": VECTOR},
    {"type": "Reshape", "bottom": "emb2", "top": "flat2", "leading_dim": VECTOR},
    {"type": "InnerProduct", "bottom": "dense", "top": "fc1", "fc_param": {"num_output": 4}},
    {"type": "BatchNorm", "bottom": "fc1", "top": "bn1", "bn_param": {"factor": 0.9, "eps": 1e-5}},
    {"type": "ReLU", "bottom": "bn1", "top": "relu1"},
    {"type": "Concat", "bottom": ["relu1", "flat"], "top": "concat1"},
    {"type": "InnerProduct", "bottom": "concat1", "top": "fc2", "fc_param": {"num_output": 4}},
    {"type": "ReLU", "bottom": "fc2", "top": "relu2"},
    {"type": "Concat", "bottom": ["relu2", "flat2"], "top": "concat2"},
    {"type": "InnerProduct", "bottom": "concat2", "top": "fc3", "fc_param": {"num_output": 1}},
    {"type": "BinaryCrossEntropyLoss", "bottom": ["fc3", "label"], "top": "loss"},
]


@dataclass(frozen=True)
class HandModel:
    """The numbers of the model, as HugeCTR stores them and as numpy computes with them."""

    weights: dict[str, np.ndarray]
    mean: np.ndarray
    var: np.ndarray
    tables: Sequence[np.ndarray]
    graph: Any = field(default_factory=lambda: {"layers": LAYERS})

    @staticmethod
    def random(seed: int = 0) -> HandModel:
        generator = np.random.default_rng(seed)
        weights = {name: generator.normal(size=shape).astype(np.float32) for name, shape in SHAPES.items()}
        tables = [generator.normal(size=(ROWS, VECTOR)).astype(np.float32) for _ in range(2)]
        mean, var = generator.normal(size=4).astype(np.float32), generator.uniform(0.5, 2, 4).astype(np.float32)
        return HandModel(weights, mean, var, tables)

    def changed(self, **arrays: Any) -> HandModel:
        """The model with other weights: `fc1_weight=...`, `mean=...`, `tables=...`."""
        own = {name: arrays.pop(name) for name in ("mean", "var", "tables") if name in arrays}
        weights = {name.replace("_", "."): np.asarray(array, np.float32) for name, array in arrays.items()}
        assert weights.keys() <= self.weights.keys()
        return replace(self, weights={**self.weights, **weights}, **own)

    def write(self, folder: Path, iteration: int = 0) -> Weights:
        """The snapshot (formats 2 and 3)."""
        folder.mkdir(parents=True, exist_ok=True)
        dense = folder / f"m_dense_{iteration}.model"
        dense.write_bytes(b"".join(array.astype("<f4").tobytes() for array in self.weights.values()))
        ntp = dense.with_name(f"{dense.name}.ntp.json")
        entry = {"type": "BatchNorm", "mean": self.mean.tolist(), "var": self.var.tolist()}
        ntp.write_text(json.dumps({"layers": [entry]}))
        paths = []
        for number, table in enumerate(self.tables):
            path = folder / f"m{number}_sparse_{iteration}.model"
            path.mkdir(exist_ok=True)
            np.arange(ROWS).astype("<i8").tofile(path / "key")
            table.astype("<f4").tofile(path / "emb_vector")
            paths.append(path)
        return Weights(dense, paths, ntp)

    def feeds(self, count: int = 48, seed: int = 1) -> dict[str, np.ndarray]:
        generator = np.random.default_rng(seed)
        keys = generator.integers(0, ROWS, (2, count, 1, NNZ))
        keys[:, ::3, :, 1:] = -1
        dense = generator.normal(size=(count, WIDTH)).astype(np.float32)
        return {"dense": dense, "keys": keys[0], "words": keys[1]}

    def evaluate(self, feeds: dict[str, np.ndarray], dtype: Any = np.float64) -> dict[str, np.ndarray]:
        """Every tensor by HugeCTR's name, by hand; with float16 every layer stores halves."""

        def stored(array: np.ndarray) -> np.ndarray:
            return array.astype(dtype).astype(np.float32 if dtype == np.float16 else dtype)

        w = {name: stored(array) for name, array in self.weights.items()}
        tables = [stored(np.concatenate([table, np.zeros((1, VECTOR))])) for table in self.tables]
        found: dict[str, np.ndarray] = {}
        valid = (feeds["keys"] >= 0).sum(-1, keepdims=True)
        found["emb"] = stored(tables[0][feeds["keys"]].sum(axis=2) / np.maximum(valid, 1))
        found["emb2"] = stored(tables[1][feeds["words"]].sum(axis=2))
        found["flat"], found["flat2"] = found["emb"][:, 0], found["emb2"][:, 0]
        found["fc1"] = stored(stored(feeds["dense"]) @ w["fc1.weight"] + w["fc1.bias"])
        scaled = (found["fc1"] - self.mean) / np.sqrt(self.var + 1e-5)
        found["bn1"] = stored(scaled * w["bn1.gamma"] + w["bn1.beta"])
        found["relu1"] = np.maximum(found["bn1"], 0)
        found["concat1"] = np.concatenate([found["relu1"], found["flat"]], 1)
        found["fc2"] = stored(found["concat1"] @ w["fc2.weight"] + w["fc2.bias"])
        found["relu2"] = np.maximum(found["fc2"], 0)
        found["concat2"] = np.concatenate([found["relu2"], found["flat2"]], 1)
        found["fc3"] = stored(found["concat2"] @ w["fc3.weight"] + w["fc3.bias"])
        found["label"] = 1 / (1 + np.exp(-found["fc3"]))
        return found

    # As another converter writes it

    def foreign(
        self, path: Path, *, without: Sequence[str] = (), mean: str = "keys", concat: Sequence[str] = ("relu1", "flat")
    ) -> Path:
        """An ONNX file without metadata, `without` relu1, fc2.bias, ...; the mean "padded" divides by the width."""
        constants = {name: array for name, array in self.weights.items() if name not in without}
        constants |= {"bn1.mean": self.mean, "bn1.var": self.var, "one": np.array(1, np.int64), "axis": np.array([2])}
        constants |= {
            f"table{i}": np.concatenate([np.zeros((1, VECTOR), np.float32), t]) for i, t in enumerate(self.tables)
        }
        constants |= {"shape": np.array([-1, VECTOR]), "least": np.float32(1), "zero": np.array(0, np.int64)}
        nodes = [*_lookup("keys", "table0", "sum0"), *_lookup("words", "table1", "emb2")]
        if mean == "padded":
            constants["width"] = np.float32(NNZ)
            nodes.append(helper.make_node("Div", ["sum0", "width"], ["emb"]))
        else:
            nodes += [
                helper.make_node("GreaterOrEqual", ["keys", "zero"], ["valid"]),
                helper.make_node("Cast", ["valid"], ["as_float"], to=TensorProto.FLOAT),
                helper.make_node("ReduceSum", ["as_float", "axis"], ["count"], keepdims=0),
                helper.make_node("Unsqueeze", ["count", "axis"], ["count3"]),
                helper.make_node("Max", ["count3", "least"], ["divisor"]),
                helper.make_node("Div", ["sum0", "divisor"], ["emb"]),
            ]
        nodes += [helper.make_node("Reshape", ["emb", "shape"], ["flat"])]
        nodes += [helper.make_node("Reshape", ["emb2", "shape"], ["flat2"])]
        nodes += _product("dense", "fc1", without)
        nodes += [
            helper.make_node(
                "BatchNormalization", ["fc1", "bn1.gamma", "bn1.beta", "bn1.mean", "bn1.var"], ["bn1"], epsilon=1e-5
            )
        ]
        nodes += [_activation("bn1", "relu1", without)]
        nodes += [
            helper.make_node("Concat", list(concat), ["concat1"], axis=1),
            *_product("concat1", "fc2", without),
        ]
        nodes += [_activation("fc2", "relu2", without)]
        nodes += [
            helper.make_node("Concat", ["relu2", "flat2"], ["concat2"], axis=1),
            *_product("concat2", "fc3", without),
        ]
        nodes += [helper.make_node("Sigmoid", ["fc3"], ["label"])]
        inputs = [helper.make_tensor_value_info("dense", TensorProto.FLOAT, [None, WIDTH])]
        inputs += [helper.make_tensor_value_info(name, TensorProto.INT64, [None, 1, NNZ]) for name in ("keys", "words")]
        outputs = [helper.make_tensor_value_info("label", TensorProto.FLOAT, [None, 1])]
        tensors = [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()]
        graph = helper.make_graph(nodes, "g", inputs, outputs, tensors)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.save(model, path)
        return path


def _lookup(keys: str, table: str, top: str) -> Iterator[onnx.NodeProto]:
    """Row 0 is zeros: where the key -1 stands for padding."""
    yield helper.make_node("Add", [keys, "one"], [f"{keys}.rows"])
    yield helper.make_node("Gather", [table, f"{keys}.rows"], [f"{keys}.vectors"])
    yield helper.make_node("ReduceSum", [f"{keys}.vectors", "axis"], [top], keepdims=0)


def _product(x: str, top: str, without: Sequence[str]) -> Iterator[onnx.NodeProto]:
    has_bias = f"{top}.bias" not in without
    yield helper.make_node("MatMul", [x, f"{top}.weight"], [f"{top}.product" if has_bias else top])
    if has_bias:
        yield helper.make_node("Add", [f"{top}.product", f"{top}.bias"], [top])


def _activation(x: str, top: str, without: Sequence[str]) -> onnx.NodeProto:
    return helper.make_node("Identity" if top in without else "Relu", [x], [top])


@pytest.fixture
def hand() -> HandModel:
    return HandModel.random()


@pytest.fixture
def weights(hand: HandModel, tmp_path: Path) -> Weights:
    return hand.write(tmp_path / "snapshot")
