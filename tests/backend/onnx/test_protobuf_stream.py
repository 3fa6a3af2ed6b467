"""Model files written in pieces are the bytes that protobuf itself would write."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from hugectr2onnx.backend.onnx.protobuf_stream import Entry, serialise, stream, without
from hugectr2onnx.errors import OutputError


def model_with(*tensors: TensorProto) -> onnx.ModelProto:
    value = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N"])
    graph = helper.make_graph([helper.make_node("Identity", ["w"], ["y"], name="copy")], "g", [], [value], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, producer_name="me")


def joined(model: onnx.ModelProto, entries: list[Entry[bytes]], **metadata: str) -> bytes:
    return b"".join(stream(model, entries, metadata))


def test_a_streamed_payload_is_read_back_as_raw_data() -> None:
    # 100 floats: the lengths of the tensor and of the graph take two bytes each as varints.
    array = np.arange(100, dtype=np.float32)
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[100])
    read = onnx.load_from_string(joined(model_with(), [Entry(tensor, 400, array.tobytes())]))
    (found,) = read.graph.initializer
    assert numpy_helper.to_array(found).tolist() == array.tolist()
    onnx.checker.check_model(read)


def test_the_file_equals_the_one_that_protobuf_writes() -> None:
    tensor = numpy_helper.from_array(np.float32([1, 2, 3]), "w")
    head = without(tensor, "raw_data")
    whole = onnx.load_from_string(joined(model_with(), [Entry(head, 12, tensor.raw_data)]))
    assert whole == model_with(tensor)


def test_the_initializers_of_the_model_itself_are_left_out() -> None:
    small = numpy_helper.from_array(np.float32([5]), "w")
    read = onnx.load_from_string(joined(model_with(small), [Entry(small)]))
    assert [each.name for each in read.graph.initializer] == ["w"]


def test_metadata_is_added_to_the_file_and_not_to_the_model() -> None:
    model = model_with()
    read = onnx.load_from_string(joined(model, [], note="hello"))
    assert [(each.key, each.value) for each in read.metadata_props] == [("note", "hello")]
    assert len(model.metadata_props) == 0


def test_a_copy_lacks_only_the_fields_that_are_named() -> None:
    copy = without(model_with(), "graph", "producer_name")
    assert not copy.HasField("graph")
    assert (copy.producer_name, copy.ir_version, copy.opset_import[0].version) == ("", 8, 17)


def test_a_message_that_protobuf_refuses_is_an_output_error() -> None:
    class TooLarge:
        def SerializeToString(self, deterministic: bool) -> bytes:
            raise ValueError("exceeds maximum protobuf size")

    with pytest.raises(OutputError, match=r"holds 2 GiB at most \(exceeds maximum protobuf size\).*leave out keys"):
        serialise(TooLarge())
