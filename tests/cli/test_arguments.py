"""Weights and options as the command line takes them."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hugectr2onnx.cli.arguments import (
    add_flags,
    add_weights,
    given_options,
    options_of,
    required_weights,
    weights_of,
)
from hugectr2onnx.cli.entry import UsageError
from hugectr2onnx.errors import GraphJsonError, OptionError, WeightsError
from hugectr2onnx.frontend.weights.key_filter import read_all
from hugectr2onnx.options import Options, descriptions


def parsed(*arguments: object) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_weights(parser)
    add_flags(parser, "model", "tables", "lookups", "result")
    return parser.parse_args([str(argument) for argument in arguments])


def test_a_folder_stands_for_its_last_snapshot(model: Any) -> None:
    weights = weights_of(parsed("--weights", model.folder))
    assert weights is not None
    assert (weights.dense, weights.sparse) == (model.dense, (model.table,))


def test_prefix_and_iteration_choose_a_snapshot(model: Any) -> None:
    (model.folder / "other_dense_7.model").write_bytes(b"")
    (model.folder / "other_dense_9.model").write_bytes(b"")
    weights = weights_of(parsed("--weights", model.folder, "--prefix", "other", "--iteration", 7))
    assert weights is not None
    assert weights.dense == model.folder / "other_dense_7.model"


def test_files_one_by_one() -> None:
    weights = weights_of(parsed("--dense", "d", "--sparse", "a", "b", "--ntp", "n", "--key-bytes", 4))
    assert weights is not None
    assert (weights.dense, weights.sparse, weights.ntp) == (Path("d"), (Path("a"), Path("b")), Path("n"))
    assert weights.key_bytes == 4


def test_no_weights_are_none() -> None:
    assert weights_of(parsed()) is None


def test_a_verb_may_need_them() -> None:
    with pytest.raises(UsageError, match="--weights FOLDER"):
        required_weights(parsed())


def test_a_folder_and_its_files_exclude_each_other(model: Any) -> None:
    with pytest.raises(UsageError, match="--weights and --dense, --sparse exclude each other"):
        weights_of(parsed("--weights", model.folder, "--dense", "d", "--sparse", "s"))


def test_an_iteration_needs_a_folder() -> None:
    with pytest.raises(UsageError, match="--iteration"):
        weights_of(parsed("--dense", "d", "--iteration", 3))


def test_an_iteration_that_is_not_there(model: Any) -> None:
    with pytest.raises(WeightsError, match="there are the iterations 100"):
        weights_of(parsed("--weights", model.folder, "--iteration", 3))


def test_layer_attrs_as_text_or_file(tmp_path: Path) -> None:
    attributes = {"reshape1": {"shape": [-1, 4]}}
    (tmp_path / "a.json").write_text(json.dumps(attributes))
    assert options_of(parsed("--layer-attrs", json.dumps(attributes))).layer_attrs == attributes
    assert options_of(parsed("--layer-attrs", tmp_path / "a.json")).layer_attrs == attributes


@pytest.mark.parametrize(
    ("text", "message"),
    [('{"a":', "ends in the middle|expecting value|Expecting value"), ('{"a": {"dim": NaN}}', "NaN")],
)
def test_layer_attrs_that_are_not_json(text: str, message: str) -> None:
    with pytest.raises(OptionError, match=message) as refused:
        options_of(parsed("--layer-attrs", text))
    assert refused.value.option == "layer_attrs"


def test_a_file_of_layer_attrs_that_is_not_there() -> None:
    with pytest.raises(GraphJsonError, match=r"nothere\.json"):
        options_of(parsed("--layer-attrs", "nothere.json"))


def test_a_list_is_no_layer_attrs(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[1]")
    with pytest.raises(OptionError, match=r"--layer-attrs: .*expected an object"):
        options_of(parsed("--layer-attrs", tmp_path / "a.json"))


@pytest.mark.parametrize("text", ["[10, 0, 4]", '{"slot_size_array": [10, 0, 4]}'])
def test_slot_sizes_as_text_or_file(text: str, tmp_path: Path) -> None:
    (tmp_path / "sizes.json").write_text(text)
    assert options_of(parsed("--slot-size-array", "10, 0,4")).slot_size_array == (10, 0, 4)
    assert options_of(parsed("--slot-size-array", tmp_path / "sizes.json")).slot_size_array == (10, 0, 4)


def test_slot_sizes_that_are_none() -> None:
    with pytest.raises(OptionError, match="--slot-size-array: 'ten': give numbers such as 10,0,4"):
        options_of(parsed("--slot-size-array", "ten"))


def test_slot_sizes_are_not_negative(tmp_path: Path) -> None:
    (tmp_path / "sizes.json").write_text("[1, -2]")
    with pytest.raises(GraphJsonError, match=r"slot_size_array\[1\]"):
        options_of(parsed("--slot-size-array", tmp_path / "sizes.json"))


def test_the_other_options() -> None:
    options = options_of(parsed("--no-embedding", "--n-gpus", 4, "--input-shape", "a=N,2", "--input-shape", "b=3"))
    assert not options.convert_embedding
    assert options.n_gpus == 4
    assert options.input_shapes == {"a": ("N", 2), "b": (3,)}


@pytest.mark.parametrize("gpus", [0, -1, 5000])
def test_a_number_of_gpus_that_none_is(gpus: int) -> None:
    with pytest.raises(OptionError, match="n_gpus: expected an integer from 1"):
        options_of(parsed("--n-gpus", gpus))


def test_several_files_of_keys_to_keep_are_united(tmp_path: Path) -> None:
    for name, keys in {"a": [7, 5], "b": [5, 9], "c": [1]}.items():
        np.array(keys, np.int64).tofile(tmp_path / name)
    given = [f"{top}={tmp_path / name}" for top, name in (("emb", "a"), ("emb", "b"), ("other", "c"))]
    kept = options_of(parsed(*(part for each in given for part in ("--keep-keys", each)))).keep_keys
    assert kept == {"emb": [str(tmp_path / "a"), str(tmp_path / "b")], "other": [str(tmp_path / "c")]}
    assert {top: keys.tolist() for top, keys in read_all(kept).items()} == {"emb": [5, 7, 9], "other": [1]}


def test_flags_stand_in_the_place_of_what_a_model_recorded() -> None:
    start = Options(n_gpus=4, opset=18, embedding={"emb": "int8"})
    options = options_of(parsed("--opset", 20, "--no-simplify"), start)
    assert (options.n_gpus, options.opset, options.embedding, options.simplify) == (4, 20, {"emb": "int8"}, False)


def test_every_option_has_a_flag() -> None:
    assert [name for name, described in descriptions() if described.flag is None] == []


def test_a_flag_stands_for_every_option_of_the_namespace() -> None:
    assert given_options(parsed()) == {}
