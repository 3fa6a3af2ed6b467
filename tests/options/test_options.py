"""The options of `compile`: normal forms, refusals, metadata, and the signature that is made from them."""

from __future__ import annotations

import dataclasses
import inspect
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hugectr2onnx
from hugectr2onnx import passes
from hugectr2onnx.errors import FeedError, OptionError
from hugectr2onnx.options import METADATA_KEY, OPT_LEVELS, Options, descriptions

SET: dict[str, Any] = {
    "interface": "csr",
    "opt_level": 3,
    "convert_embedding": False,
    "input_shapes": {"x": ("N", 13)},
    "layer_attrs": {"reshape1": {"shape": [-1, 4]}},
    "slot_size_array": (10, 0, 4),
    "n_gpus": 4,
    "padding_key": -5,
    "keep_empty_dense": True,
    "outputs": ("label", "fc3"),
    "embedding": {"emb": "int8"},
    "keys": {"emb": "direct"},
    "default_embedding": {"emb": 0.5},
    "precision": {"*": "int8", "fc3": "fp32"},
    "cpu": "vnni",
    "graph_name": "mine",
    "opset": 20,
    "simplify": False,
}
"""A value of each option that a model records as it is."""


@pytest.mark.parametrize(
    ("option", "value", "normal"),
    [
        ("opt_level", np.int64(1), 1),
        ("opset", np.int32(18), 18),
        ("simplify", 0, False),
        ("check", np.bool_(False), False),
        ("input_shapes", {"x": np.array([-1, 4])}, {"x": ("N", 4)}),
        ("input_shapes", {"x": [None, np.int64(4)]}, {"x": ("N", 4)}),
        ("input_shapes", None, {}),
        ("layer_attrs", {"r": {"shape": ("N", 4), "mean": np.array([1.5])}}, {"r": {"shape": [-1, 4], "mean": [1.5]}}),
        ("slot_size_array", np.array([3, 0]), (3, 0)),
        ("slot_size_array", [], None),
        ("dump", Path("folder"), "folder"),
        ("default_embedding", np.float32(0.5), 0.5),
        ("default_embedding", [["a", 1], ("b", 0)], (("a", 1.0), ("b", 0.0))),
    ],
)
def test_a_value_is_brought_to_its_normal_form(option: str, value: object, normal: object) -> None:
    assert getattr(Options(**{option: value}), option) == normal


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("opt_level", 4, "opt_level is 4; it must be one of 0, 1, 2, 3"),
        ("opt_level", True, "opt_level is true"),
        ("opset", 9, "opset is 9; it must be from 17 to 23"),
        ("simplify", "no", 'simplify is the string "no"; it must be true or false'),
        ("input_shapes", [1], "input_shapes is a list of 1; give a mapping such as"),
        ("input_shapes", {"x": ("N", 0)}, "input_shapes['x'] has 0: a dimension is a positive number, None or 'N'"),
        ("input_shapes", {"x": ("N", "N")}, "input_shapes['x'] has the batch twice"),
        ("input_shapes", {"x": ("N", 1 << 27)}, "input_shapes['x'] has more than 67108864 numbers a sample"),
        ("layer_attrs", {"r": [1]}, "layer_attrs must map a top to its attributes"),
        ("layer_attrs", {1: {}}, "layer_attrs has the key 1; expected the name of a tensor"),
        ("slot_size_array", [1, -2], "the options: slot_size_array[1]: expected an integer from 0"),
        ("slot_size_array", [2**62] * 2, "slot_size_array: the sum of its sizes exceeds a 64-bit integer"),
        ("n_gpus", 0, "the options: n_gpus: expected an integer from 1 to 4096, found 0"),
        ("embedding", "int4", "embedding is 'int4'; a row format is one of fp32, fp16, int8"),
        ("precision", "int4", "precision is 'int4'; it must be one of fp32, int8, int8-row, auto"),
        ("precision", {"fc1": 8}, "precision is a Python int; it must be one of fp32, int8, int8-row, auto"),
        ("cpu", "avx2", 'cpu is the string "avx2"; it must be one of any, vnni'),
        ("keys", {"emb": None}, "keys is a Python NoneType; it must be one of auto, direct"),
        ("keep_keys", [1], "keep_keys is a list of 1; give a mapping such as"),
        ("graph_name", "a\nb", "graph_name is the string"),
        ("default_embedding", 1e39, "default_embedding is 1e+39; it must be a number that float32 holds"),
        ("default_embedding", True, "default_embedding: expected a number, found true"),
        ("default_embedding", {"emb": "x"}, 'default_embedding: expected a number, found the string "x"'),
        ("dump", 7, "dump is 7; give the path of a folder"),
    ],
)
def test_a_bad_value_is_refused_by_name(option: str, value: object, message: str) -> None:
    with pytest.raises(OptionError) as refused:
        Options(**{option: value})
    assert message in str(refused.value)
    assert refused.value.option == option
    assert refused.value.exit_code == 2


def test_levels_are_those_of_the_pipelines() -> None:
    assert tuple(passes.PIPELINES) == OPT_LEVELS


# Metadata


def test_a_model_records_its_options_and_gives_them_back() -> None:
    assert set(SET) == {name for name, each in descriptions() if each.is_recorded and not each.names_files}
    assert Options.from_metadata(Options(**SET).to_metadata()) == Options(**SET)


def test_files_are_recorded_by_what_was_read_from_them() -> None:
    options = Options(keep_keys={"emb": "keys.npy"}, embedding_collection="c.json")
    recorded = json.loads(options.to_metadata({"keep_keys": {"emb": "1 keys"}, "embedding_collection": [1]}))
    assert (recorded["keep_keys"], recorded["embedding_collection"]) == ({"emb": "1 keys"}, [1])
    assert "keys.npy" not in options.to_metadata()


def test_an_option_that_came_later_is_recorded_only_where_it_is_set() -> None:
    assert "default_embedding" not in Options().to_metadata()
    assert json.loads(Options(default_embedding=1).to_metadata())["default_embedding"] == 1.0


def test_nothing_recorded_means_the_defaults() -> None:
    assert Options.from_metadata(None) == Options.from_metadata("{}") == Options()


@pytest.mark.parametrize("text", ["{", "[]", '{"convert_embedding": 7}', '{"slot_size_array": ["x"]}', '{"keys": 3}'])
def test_metadata_that_was_changed_is_refused(text: str) -> None:
    with pytest.raises(FeedError, match=r"the metadata hugectr2onnx\.options"):
        Options.from_metadata(text)


# compile's signature and documentation


def test_compile_lists_every_option_with_its_default() -> None:
    parameters = inspect.signature(hugectr2onnx.compile).parameters
    assert list(parameters)[:3] == ["graph", "weights", "opt_level"]
    for field in dataclasses.fields(Options):
        assert parameters[field.name].default == field.default
    assert not any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters.values())


def test_the_documentation_of_compile_has_every_option() -> None:
    text = " ".join((hugectr2onnx.compile.__doc__ or "").split())
    assert [name for name, each in descriptions() if f"{name}: {each.doc}" not in text] == []


def test_an_unknown_option_is_a_type_error_with_a_suggestion() -> None:
    with pytest.raises(TypeError, match=r"'optlevel' is not an option: did you mean opt_level\?"):
        hugectr2onnx.compile({}, {}, optlevel=1)


ADD_AN_OPTION = """
import dataclasses, sys
from hugectr2onnx import options
from hugectr2onnx.options import checks, flag_text
from hugectr2onnx.options.description import Flag, option

@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(options.Options):
    colour: int = option(7, checks.one_of(range(5, 9)), "model", "The colour of the model.",
                         Flag("--colour", "N", parse=flag_text.integer))

options.Options = Options
import inspect
import hugectr2onnx
from hugectr2onnx.cli import main

assert inspect.signature(hugectr2onnx.compile).parameters["colour"].default == 7
assert "colour: The colour of the model." in hugectr2onnx.compile.__doc__
assert Options.from_metadata(Options(colour=8).to_metadata()).colour == 8
assert main(["check", "none.json", "--colour", "9"]) == 2
assert main(["compile", "--help"]) == 0
"""


def test_an_option_is_added_in_one_place() -> None:
    """A field alone gives the keyword, its documentation, the flag, the check and the metadata."""
    root = Path(hugectr2onnx.__file__).parents[1]
    command = [sys.executable, "-c", ADD_AN_OPTION]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=root)
    assert done.returncode == 0, done.stderr
    assert "--colour N" in done.stdout
    assert "the colour of the model" in done.stdout
    assert "colour is 9; it must be from 5 to 8" in done.stderr


# Manifests


def manifest(folder: Path, **models: Options) -> Path:
    entries = {name: {"metadata": {METADATA_KEY: each.to_metadata()}} for name, each in models.items()}
    path = folder / "manifest.json"
    path.write_text(json.dumps({"format": "hugectr2onnx manifest 1", "models": entries}))
    return path


def test_a_manifest_gives_the_options_of_its_model(tmp_path: Path) -> None:
    path = manifest(tmp_path, a=Options(**SET))
    assert Options.from_manifest(path) == Options(**SET)
    assert Options.from_manifest(path, "a", opset=21) == Options(**{**SET, "opset": 21})


def test_one_of_several_models_is_named(tmp_path: Path) -> None:
    path = manifest(tmp_path, a=Options(opset=18), b=Options(opset=19))
    assert Options.from_manifest(path, "b").opset == Options.from_manifest(path, prefer="b").opset == 19
    for wanted in (None, "c"):
        with pytest.raises(OptionError, match="has the models a, b; name one of them"):
            Options.from_manifest(path, wanted)


def test_files_that_a_manifest_cannot_name_are_given_again(tmp_path: Path) -> None:
    text = Options(keep_keys={"emb": "k.npy"}).to_metadata({"keep_keys": {"emb": "1 keys"}})
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps({"models": {"a": {"metadata": {METADATA_KEY: text}}}}))
    with pytest.raises(OptionError, match="a was made with keep_keys, which its manifest cannot name: give it again"):
        Options.from_manifest(path)
    assert Options.from_manifest(path, keep_keys={"emb": [1]}).keep_keys == {"emb": [1]}


@pytest.mark.parametrize("text", ["{}", "[]", '{"models": {"a": 1}}', '{"models": {"a": {"metadata": {}}}}', "{"])
def test_what_is_no_manifest(text: str, tmp_path: Path) -> None:
    (tmp_path / "m.json").write_text(text)
    with pytest.raises(FeedError, match=r"m\.json"):
        Options.from_manifest(tmp_path / "m.json")
