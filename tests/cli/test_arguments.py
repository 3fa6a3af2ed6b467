"""Weights and options as the command line takes them."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hugectr2onnx.cli.arguments import (
    add_options,
    add_weights,
    kept_files,
    named_shape,
    options_of,
    required_weights,
    weights_of,
)
from hugectr2onnx.cli.entry import UsageError
from hugectr2onnx.errors import GraphJsonError, WeightsError


def parsed(*arguments: object) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_weights(parser)
    add_options(parser)
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


@pytest.mark.parametrize(
    ("text", "shape"), [("a=N,26,16", ("N", 26, 16)), ("a=-1, 3", ("N", 3)), ("a=5", (5,)), ("x=y=N,2", ("N", 2))]
)
def test_shapes(text: str, shape: tuple[object, ...]) -> None:
    assert named_shape(text) == (text.rpartition("=")[0], shape)


@pytest.mark.parametrize("text", ["a", "=N", "a=", "a=0", "a=N,x", "a=N,-3", "a=1.5", "a=N,,3", "a=N,²"])
def test_what_is_no_shape(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        named_shape(text)


def test_layer_attrs_as_text_or_file(tmp_path: Path) -> None:
    attributes = {"reshape1": {"shape": [-1, 4]}}
    (tmp_path / "a.json").write_text(json.dumps(attributes))
    assert options_of(parsed("--layer-attrs", json.dumps(attributes))).layer_attrs == attributes
    assert options_of(parsed("--layer-attrs", tmp_path / "a.json")).layer_attrs == attributes


@pytest.mark.parametrize("text", ['{"a":', '{"a": {"dim": NaN}}', "nothere.json"])
def test_layer_attrs_that_are_none(text: str) -> None:
    with pytest.raises(GraphJsonError):
        options_of(parsed("--layer-attrs", text))


def test_a_list_is_no_layer_attrs(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[1]")
    with pytest.raises(GraphJsonError, match="expected an object"):
        options_of(parsed("--layer-attrs", tmp_path / "a.json"))


@pytest.mark.parametrize("text", ["[10, 0, 4]", '{"slot_size_array": [10, 0, 4]}'])
def test_slot_sizes_as_text_or_file(text: str, tmp_path: Path) -> None:
    (tmp_path / "sizes.json").write_text(text)
    assert options_of(parsed("--slot-size-array", "10, 0,4")).slot_size_array == (10, 0, 4)
    assert options_of(parsed("--slot-size-array", tmp_path / "sizes.json")).slot_size_array == (10, 0, 4)


def test_slot_sizes_that_are_none() -> None:
    with pytest.raises(UsageError, match="10,0,4"):
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
    with pytest.raises(GraphJsonError, match="n_gpus: expected an integer from 1"):
        options_of(parsed("--n-gpus", gpus))


def test_several_files_of_keys_to_keep_are_united(tmp_path: Path) -> None:
    for name, keys in {"a": [7, 5], "b": [5, 9], "c": [1]}.items():
        np.array(keys, np.int64).tofile(tmp_path / name)
    given = [f"{top}={tmp_path / name}" for top, name in (("emb", "a"), ("emb", "b"), ("other", "c"))]
    arguments = parsed(*(part for each in given for part in ("--keep-keys", each)))
    assert kept_files(arguments) == {"emb": [str(tmp_path / "a"), str(tmp_path / "b")], "other": [str(tmp_path / "c")]}
    kept = options_of(arguments).keep_keys
    assert {top: keys.tolist() for top, keys in kept.items()} == {"emb": [5, 7, 9], "other": [1]}


def test_a_description_of_look_ups_that_is_not_there() -> None:
    with pytest.raises(GraphJsonError, match="nothere"):
        options_of(parsed("--embedding-collection", "nothere.json"))
