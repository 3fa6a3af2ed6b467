"""Names and values of thousands of characters, in every place where one can stand: no message repeats them whole."""

from __future__ import annotations

import copy
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import hugectr2onnx
from hugectr2onnx import CompilerError, HugeCTR2ONNXError
from tests.hostile.conftest import DENSE, DISTRIBUTED, GRAPH, NTP, Model

MAX_MESSAGE = 1300
"""1,000 characters, and the options that mend it."""
LONG = ("x" * 5000, "two words " * 500, "\n" * 5000, "\x1b[31m" * 1000)
Change = Callable[[str], None]


def places(value: Any) -> Iterator[Change]:
    """Setters for each string in a JSON value, and for each key."""
    items = list(value.items()) if isinstance(value, dict) else list(enumerate(value))
    for key, item in items:
        if isinstance(item, str | int | float):
            yield lambda text, key=key: value.__setitem__(key, text)
        if isinstance(item, dict | list):
            yield from places(item)
        if isinstance(value, dict):
            yield lambda text, key=key: value.__setitem__(text, value.pop(key))


def is_short(call: Callable[[], object]) -> None:
    """Fail where the call raises an error that nobody reads to its end."""
    try:
        call()
    except CompilerError:
        raise
    except HugeCTR2ONNXError as error:
        assert len(error.describe()) <= MAX_MESSAGE, error.describe()[:3000]


@pytest.mark.parametrize("text", LONG, ids=["word", "words", "lines", "escapes"])
class TestEveryPlace:
    def test_of_the_graph(self, model: Model, text: str) -> None:
        for number in range(len(list(places(copy.deepcopy(GRAPH))))):
            model.graph = copy.deepcopy(GRAPH)
            list(places(model.graph))[number](text)
            is_short(model.compile)

    def test_of_the_statistics(self, model: Model, text: str) -> None:
        original = json.loads(model.path(NTP).read_text())
        original["layers"][0]["mean"] = original["layers"][0]["mean"][:2]
        for number in range(len(list(places(copy.deepcopy(original))))):
            changed = copy.deepcopy(original)
            list(places(changed))[number](text)
            model.write(NTP, json.dumps(changed).encode())
            is_short(model.compile)

    @pytest.mark.parametrize("options", [
        lambda text: {"layer_attrs": {text: {"shape": [1]}}}, lambda text: {"layer_attrs": {"fc1": {text: 1}}},
        lambda text: {"layer_attrs": {"flat1": {"shape": text}}}, lambda text: {"input_shapes": {text: [None, 1]}},
        lambda text: {"input_shapes": {"dense": text}}, lambda text: {"slot_size_array": text},
        lambda text: {"slot_size_array": {text: [1]}}, lambda text: {"keys": text}, lambda text: {"keep_keys": {text: [1]}},
        lambda text: {"keep_keys": {"emb1": text}}, lambda text: {"keep_keys": {"emb1": f"{text}.parquet::a"}},
        lambda text: {"default_embedding": text}, lambda text: {"default_embedding": {text: 1.0}},
        lambda text: {"embedding_collection": text}, lambda text: {"embedding": text}, lambda text: {"outputs": [text]},
        lambda text: {"embedding_collection": {"path": text, "lookups": []}}, lambda text: {"graph_name": 5, "outputs": text},
        lambda text: {"weights": text}, lambda text: {"weights": hugectr2onnx.Weights(text)}, lambda text: {"graph": text},
        lambda text: {"weights": hugectr2onnx.Weights(DENSE, (text,), text)}, lambda text: {"opt_level": text},
        lambda text: {"n_gpus": text}, lambda text: {"opset": text}, lambda text: {"padding_key": text},
    ])  # fmt: skip
    def test_of_the_options(self, model: Model, text: str, options: Callable[[str], dict[str, Any]]) -> None:
        try:
            is_short(lambda: model.compile(**options(text)))
        except TypeError as error:  # in words of ours, for a wrong type
            assert len(str(error)) <= MAX_MESSAGE

    def test_of_an_onnx_file(self, model: Model, tmp_path: Path, text: str) -> None:
        path = tmp_path / "m.onnx"
        model.compile(keys="indices").save(path, external=True)
        original = onnx.load(path, load_external_data=False)
        for change in self._changes(text):
            changed = onnx.ModelProto()
            changed.CopyFrom(original)
            change(changed)
            path.write_bytes(changed.SerializeToString())
            is_short(lambda: hugectr2onnx.inspect(path))
            is_short(lambda: hugectr2onnx.open_session(path))
            is_short(lambda: hugectr2onnx.KeyMapper.open(path))
            is_short(lambda: hugectr2onnx.predict(path, [model.feeds()]))

    def _changes(self, text: str) -> list[Callable[[onnx.ModelProto], None]]:
        def rename(field: Any, name: str) -> None:
            setattr(field, name, text)

        return [
            lambda m: rename(m.graph.input[0], "name"),
            lambda m: rename(m.graph.output[0], "name"),
            lambda m: rename(m.graph.node[0], "op_type"),
            lambda m: rename(m.graph.node[0], "domain"),
            lambda m: m.graph.node[0].input.__setitem__(0, text),
            lambda m: [rename(e, "value") for t in m.graph.initializer for e in t.external_data],
            lambda m: [rename(e, "value") for e in m.metadata_props],
            lambda m: [rename(e, "key") for e in m.metadata_props],
            lambda m: [rename(t, "name") for t in m.graph.initializer],
        ]

    def test_of_recordings_and_data(self, model: Model, tmp_path: Path, text: str) -> None:
        model.compile().save(tmp_path / "m.onnx")
        graph = tmp_path / "g.json"
        graph.write_text(json.dumps(model.graph))
        for arrays in ({**model.feeds(), text: np.zeros((4, 1))}, {text: np.zeros((4, 1))}, {}):
            content = io.BytesIO()
            np.savez(content, **arrays)
            (tmp_path / "r.npz").write_bytes(content.getvalue())
            is_short(lambda: hugectr2onnx.verify(tmp_path / "m.onnx", graph, model.folder, tmp_path / "r.npz"))
            is_short(lambda: hugectr2onnx.predict(tmp_path / "m.onnx", tmp_path / "r.npz"))
            is_short(lambda: hugectr2onnx.predict(tmp_path / "m.onnx", [model.feeds()], against=tmp_path / "r.npz"))
        is_short(lambda: hugectr2onnx.predict(tmp_path / "m.onnx", text))
        is_short(lambda: hugectr2onnx.predict(tmp_path / "m.onnx", [model.feeds()], columns=text, metrics=[text]))

    def test_of_paths(self, model: Model, text: str) -> None:
        compiled = model.compile()
        is_short(lambda: compiled.save(text))
        is_short(lambda: hugectr2onnx.inspect(text))
        is_short(lambda: hugectr2onnx.inspect(f"{text}.model"))
        is_short(lambda: hugectr2onnx.open_session(text))
        is_short(lambda: hugectr2onnx.verify_manifest(text))
        is_short(lambda: hugectr2onnx.read_table(text))
        is_short(lambda: hugectr2onnx.KeyMapper.open(model.path(f"{DISTRIBUTED}/key"), text))
