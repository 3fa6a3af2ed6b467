"""What a client sends, and what the layers take of it: values by hand, the way back, and on onnxruntime."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from hugectr2onnx.errors import ShapeError
from hugectr2onnx.ir.graph import Graph
from hugectr2onnx.ir.ops.requests import PadKeys, SplitSamples, SplitTables, csr_types
from hugectr2onnx.ir.types import DType, N, TensorType, Width, f32, i64

OnOnnxruntime = Callable[..., dict[str, np.ndarray]]
KEYS, OFFSETS = np.array([7, 8, 9, 5]), np.array([0, 1, 1, 3, 4])
PADDED = [[[7, -1], [-1, -1]], [[8, 9], [5, -1]]]


class TestPadKeys:
    def test_every_slot_gets_the_width_of_the_fullest(self) -> None:
        np.testing.assert_array_equal(PadKeys(2, 2, "k").evaluate(KEYS, OFFSETS), PADDED)

    def test_the_padding_key_fills_up_where_there_is_one(self) -> None:
        padded = PadKeys(2, 2, "k", padding_key=0).evaluate(KEYS, OFFSETS)
        np.testing.assert_array_equal(padded, np.where(np.array(PADDED) == -1, 0, PADDED))

    def test_a_batch_without_keys_has_the_width_1(self) -> None:
        padded = PadKeys(2, 2, "k").evaluate(np.array([], np.int64), np.zeros(5, np.int64))
        np.testing.assert_array_equal(padded, np.full((2, 2, 1), -1))

    def test_a_batch_of_no_samples(self) -> None:
        assert PadKeys(2, 2, "k").evaluate(np.array([], np.int64), np.array([0])).shape == (0, 2, 1)

    def test_the_way_back_sends_no_padding_behind_the_last_key(self) -> None:
        keys, offsets = PadKeys(2, 2, "k").invert(np.array(PADDED))
        assert (keys.tolist(), offsets.tolist()) == (KEYS.tolist(), OFFSETS.tolist())

    def test_padding_between_keys_is_sent(self) -> None:
        keys, offsets = PadKeys(1, 3, "k").invert(np.array([[[-1, 4, -1]]]))
        assert (keys.tolist(), offsets.tolist()) == ([-1, 4], [0, 2])

    def test_negative_keys_are_sent_where_another_key_is_padding(self) -> None:
        keys, offsets = PadKeys(1, 3, "k", padding_key=0).invert(np.array([[[-4, 4, 0]]]))
        assert (keys.tolist(), offsets.tolist()) == ([-4, 4], [0, 2])

    def test_sent_whole_every_place_is_a_key(self) -> None:
        keys, offsets = PadKeys(2, 2, "k").send_whole(np.array(PADDED))
        assert (keys.tolist(), offsets.tolist()) == ([7, -1, -1, -1, 8, 9, 5, -1], [0, 2, 4, 6, 8])

    def test_it_takes_vectors_of_int64(self) -> None:
        assert PadKeys(2, 3, "k").infer(*csr_types("k")) == i64(N, 2, Width(3, "nnz_k"))
        with pytest.raises(ShapeError, match="keys and their offsets must be i64 vectors"):
            PadKeys(2, 3, "k").infer(csr_types("k")[0], f32(N))
        with pytest.raises(ShapeError, match="keys and their offsets must be i64 vectors"):
            PadKeys(2, 3, "k").infer(i64(N, 1), csr_types("k")[1])


class TestSplitTables:
    """Two tables of two slots and of one, in a batch of two samples."""

    OP = SplitTables((2, 1), ("a", "b"))
    ALL_KEYS = np.array([7, 8, 9, 5, 1, 2])
    ALL_OFFSETS = np.array([0, 1, 1, 3, 4, 0, 0, 2], np.int32)
    PARTS = ([7, 8, 9, 5], [0, 1, 1, 3, 4], [1, 2], [0, 0, 2])

    def graph(self) -> Graph:
        graph = Graph()
        keys = graph.input("keys", i64(Width(1, "K")))
        offsets = graph.input("offsets", TensorType(DType.I32, (Width(1, "O"),)))
        parts = self.OP(keys, offsets).node.results
        graph.output({f"part{i}": part for i, part in enumerate(parts)})
        return graph

    def test_each_table_has_keys_and_offsets_of_its_own(self) -> None:
        assert tuple(part.tolist() for part in self.OP.evaluate(self.ALL_KEYS, self.ALL_OFFSETS)) == self.PARTS

    def test_onnxruntime_splits_alike(self, on_onnxruntime: OnOnnxruntime) -> None:
        found = on_onnxruntime(self.graph(), {"keys": self.ALL_KEYS, "offsets": self.ALL_OFFSETS})
        assert tuple(found[f"part{i}"].tolist() for i in range(4)) == self.PARTS

    def test_the_way_back(self) -> None:
        keys, offsets = self.OP.invert(*map(np.array, self.PARTS))
        assert (keys.tolist(), offsets.tolist()) == (self.ALL_KEYS.tolist(), self.ALL_OFFSETS.tolist())
        assert offsets.dtype == np.int32

    def test_it_takes_offsets_of_int32(self) -> None:
        with pytest.raises(ShapeError, match="all offsets an i32 vector"):
            self.OP.infer(*csr_types("a"))


class TestSplitSamples:
    def test_a_flat_vector_becomes_rows(self, on_onnxruntime: OnOnnxruntime) -> None:
        graph = Graph()
        flat = graph.input("DES", f32(Width(3, "D")))
        graph.output({"dense": SplitSamples(3)(flat)})
        x = np.arange(6, dtype=np.float32)
        np.testing.assert_array_equal(on_onnxruntime(graph, {"DES": x})["dense"], [[0, 1, 2], [3, 4, 5]])
        np.testing.assert_array_equal(SplitSamples(3).evaluate(x), [[0, 1, 2], [3, 4, 5]])

    def test_the_way_back(self) -> None:
        (flat,) = SplitSamples(3).invert(np.array([[0, 1, 2], [3, 4, 5]]))
        assert flat.tolist() == [0, 1, 2, 3, 4, 5]

    def test_it_takes_a_vector_of_float32(self) -> None:
        with pytest.raises(ShapeError, match="the numbers of all samples must be an f32 vector"):
            SplitSamples(3).infer(f32(N, 3))
