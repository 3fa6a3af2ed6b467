"""The inputs of a model in each form of its interface."""

from __future__ import annotations

from typing import Any

import pytest

from hugectr2onnx.errors import OptionError, UnsupportedError
from hugectr2onnx.frontend.embeddings.interface import KeyInputs, check_interface, declare_dense
from hugectr2onnx.frontend.graph_json.clauses import DataClause, SparseInput
from hugectr2onnx.ir.graph import Graph
from hugectr2onnx.ir.ops.requests import PadKeys
from hugectr2onnx.ir.types import N
from hugectr2onnx.options import Options

ONE_HOT = SparseInput("wide", 2, (1, 1), True)
MULTI_HOT = SparseInput("deep", 3, (2, 1, 4), False)
DATA = DataClause((), "dense", 13, (ONE_HOT, MULTI_HOT))


def inputs(graph: Graph) -> dict[str, str]:
    return {value.node.name: str(value.type) for value in graph.inputs}


def declared(interface: str, read: tuple[str, ...] = ("wide", "deep"), **changes: Any) -> dict[str, str]:
    """The inputs of keys by name, with their types; the keys that layers get are [N, slot_num, nnz] in any form."""
    graph = Graph()
    keys = KeyInputs(interface, **changes).declare(graph, DATA, read)
    assert list(keys) == [each.top for each in DATA.sparse if each.top in read]
    for each in DATA.sparse:
        if each.top in read:
            assert keys[each.top].value.shape[:2] == (N, each.slot_num)
    return inputs(graph)


def test_padded_keys_have_a_free_width_where_a_slot_holds_several() -> None:
    assert declared("padded") == {"wide": "i64[N, 2, 1]", "deep": "i64[N, 3, nnz_deep]"}


def test_a_fixed_top_has_the_width_of_training() -> None:
    assert declared("padded", fixed=("deep",))["deep"] == "i64[N, 3, 4]"


def test_csr_keys_are_two_inputs_a_top() -> None:
    assert list(declared("csr")) == ["wide", "wide.offsets", "deep", "deep.offsets"]


def test_the_keys_of_all_tops_are_joined_for_hugectr() -> None:
    assert list(declared("hugectr")) == ["CATCOLUMN", "ROWINDEX"]


@pytest.mark.parametrize(
    ("interface", "expected"),
    [("padded", ["deep"]), ("csr", ["deep", "deep.offsets"]), ("hugectr", ["CATCOLUMN", "ROWINDEX"])],
)
def test_a_top_that_no_embedding_reads_is_not_asked_for(interface: str, expected: list[str]) -> None:
    assert list(declared(interface, ("deep",))) == expected
    assert declared(interface, ()) == {}


def test_the_keys_of_each_top_are_padded_by_its_own_slots() -> None:
    graph = Graph()
    keys = KeyInputs("hugectr", padding_key=7).declare(graph, DATA, ("wide", "deep"))
    assert [each.value.op for each in keys.values()] == [PadKeys(2, 1, "wide", 7), PadKeys(3, 4, "deep", 7)]


def test_the_readers_sizes_are_summed_up_over_the_slots_of_all_tops() -> None:
    keys = KeyInputs("padded", padding_key=-1).declare(Graph(), DATA, ("wide", "deep"), (10, 20, 5, 5))
    assert [each.offsets for each in keys.values()] == [(0, 10), (30, 35, 0)]


@pytest.mark.parametrize("interface", ["csr", "hugectr"])
def test_a_place_for_each_key_needs_padded_keys(interface: str) -> None:
    with pytest.raises(UnsupportedError, match=r'deep is read by a look-up with the combiner "concat".* its 4 keys'):
        KeyInputs(interface, fixed=("deep",)).declare(Graph(), DATA, ("deep",))


@pytest.mark.parametrize(
    ("interface", "expected"), [("padded", {"dense": "f32[N, 13]"}), ("csr", {"dense": "f32[N, 13]"})]
)
def test_dense_values_are_a_matrix(interface: str, expected: dict[str, str]) -> None:
    graph = Graph()
    assert list(declare_dense(graph, DATA, Options(interface=interface))) == ["dense"]
    assert inputs(graph) == expected


def test_dense_values_are_one_vector_for_hugectr() -> None:
    graph = Graph()
    dense = declare_dense(graph, DATA, Options(interface="hugectr"))["dense"]
    assert list(inputs(graph)) == ["DES"]
    assert str(dense.type) == "f32[N, 13]"


def test_a_model_without_dense_values() -> None:
    nothing = DataClause((), "dense", 0, (ONE_HOT,))
    graph = Graph()
    assert declare_dense(graph, nothing, Options()) == {}
    assert list(declare_dense(graph, nothing, Options(keep_empty_dense=True))) == ["dense"]
    assert inputs(graph) == {"dense": "f32[N, 0]"}


def test_an_empty_vector_tells_no_number_of_samples() -> None:
    nothing = DataClause((), "dense", 0, (ONE_HOT,))
    with pytest.raises(OptionError, match="does not say how many samples there are"):
        declare_dense(Graph(), nothing, Options(interface="hugectr", keep_empty_dense=True))


def test_vectors_as_inputs_have_no_form_of_keys() -> None:
    check_interface(Options(interface="padded", convert_embedding=False))
    with pytest.raises(OptionError, match="so that no keys come in"):
        check_interface(Options(interface="csr", convert_embedding=False))
