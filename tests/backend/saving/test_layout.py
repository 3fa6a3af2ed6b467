"""Which tensors lie where, under which names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import numpy_helper

from hugectr2onnx.backend.onnx.artifact import Artifact
from hugectr2onnx.backend.saving.layout import Layout, beside, content_id, with_tables_outside
from hugectr2onnx.errors import OutputError
from tests.backend.saving.models import model_of

TARGET = Path("m.onnx")


def test_a_model_within_the_limit_is_one_file() -> None:
    assert Layout.of(model_of(1), TARGET, 0, 1 << 20, None).shards == ()


def test_tensors_above_the_threshold_lie_beside_at_whole_pages() -> None:
    (shard,) = Layout.of(model_of(1), TARGET, 100, 0, None).shards
    assert (shard.suffix, shard.offsets, shard.size) == (".data", {"table": 0, "other": 4096}, 4096 + 2400)


def test_a_shard_ends_before_a_tensor_that_does_not_fit() -> None:
    shards = Layout.of(model_of(1), TARGET, 100, 0, 2400).shards
    assert [shard.suffix for shard in shards] == [".data-00001-of-00002", ".data-00002-of-00002"]
    assert [dict(shard.offsets) for shard in shards] == [{"table": 0}, {"other": 0}]


def test_places_name_the_file_with_the_id() -> None:
    layout = Layout.of(model_of(1), TARGET, 100, 0, None)
    place = layout.located(model_of(1), "0123456789abcdef")["other"]
    assert {entry.key: entry.value for entry in place.external_data} == {
        "location": "m.onnx.0123456789abcdef.data",
        "offset": "4096",
        "length": "2400",
    }


def test_a_model_file_larger_than_a_message_is_refused() -> None:
    with pytest.raises(OutputError, match="one protobuf message holds at most 100"):
        Layout.of(model_of(1), TARGET, 1 << 20, 1 << 20, None).require_message(100)


def test_the_id_depends_on_every_size_and_checksum_and_not_on_the_order() -> None:
    files = [(".data", 5, "aa"), (".k.keys", 6, "bb")]
    ids = {
        content_id(files),
        content_id([(".data", 6, "aa"), files[1]]),
        content_id([(".data", 5, "ab"), files[1]]),
        content_id(files[:1]),
        content_id(files, 1),
    }
    assert len(ids) == 5
    assert content_id(files[::-1]) == content_id(files)
    assert beside(TARGET, "0" * 16, ".data").name == "m.onnx.0000000000000000.data"


class TestSmallTensors:
    """Those of a model that was asked for in several files."""

    @staticmethod
    def inline(**tensors: np.ndarray) -> Artifact:
        model = model_of(1).inline()
        del model.graph.initializer[:]
        model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in tensors.items())
        return Artifact(model, {})

    def test_of_a_kilobyte_go_beside_it(self) -> None:
        artifact = self.inline(large=np.ones(256, np.float32), small=np.ones(255, np.float32))
        assert list(with_tables_outside(artifact).tensors) == ["large"]

    def test_the_largest_goes_where_all_are_smaller(self) -> None:
        artifact = self.inline(small=np.ones(2, np.float32), larger=np.ones(3, np.float32))
        assert list(with_tables_outside(artifact).tensors) == ["larger"]

    def test_shapes_and_indices_stay(self) -> None:
        artifact = self.inline(shape=np.ones(1000, np.int64))
        assert list(with_tables_outside(artifact).tensors) == []

    def test_their_numbers_stay_as_they_are(self) -> None:
        numbers = np.random.default_rng(0).random((20, 30), np.float32)
        moved = with_tables_outside(self.inline(table=numbers))
        np.testing.assert_array_equal(moved.tensors["table"].materialise(), numbers)
