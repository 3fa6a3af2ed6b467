"""What a walk over the layers tells of each, and which of its errors only follow from others."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from hugectr2onnx.checking.layers import drop_consequential_errors, layer_checks
from hugectr2onnx.errors import MissingInformationError, ShapeError, WeightsError


def placed(error: Any, place: str) -> Any:
    """An error as the importer raises it from a layer."""
    error.add_note(f"while importing {place}")
    return error


def walk(*errors: Any, inputs: tuple[str, ...] = ("dense",)) -> Any:
    """What is left of an importer after its walk."""
    return SimpleNamespace(errors=list(errors), graph=SimpleNamespace(inputs=inputs), summaries=[])


def test_all_errors_stay_without_a_question() -> None:
    errors = [placed(ShapeError("a"), "layers[1]"), placed(ShapeError("b"), "layers[2]")]
    assert drop_consequential_errors(walk(*errors), None) == errors


def test_without_an_interface_what_is_wrong_with_it_is_enough() -> None:
    interface, layer = WeightsError("no inputs"), placed(ShapeError("no bottom"), "layers[1]")
    assert drop_consequential_errors(walk(interface, layer, inputs=()), None) == [interface]
    assert drop_consequential_errors(walk(layer, inputs=()), None) == [layer], "else it is all that there is"


def test_the_question_stands_for_the_error_of_its_layer() -> None:
    asked = placed(MissingInformationError("which shape?"), "layers[3] Reshape")
    question = MissingInformationError("layers[3] Reshape: two shapes fit")
    assert drop_consequential_errors(walk(asked), question) == [question]


def test_beside_other_errors_nothing_is_asked() -> None:
    asked = placed(MissingInformationError("which shape?"), "layers[3] Reshape")
    other = placed(ShapeError("b"), "layers[5] Add")
    question = MissingInformationError("layers[3] Reshape: two shapes fit")
    assert drop_consequential_errors(walk(asked, other), question) == [asked, other]


def clause(index: int, type: str) -> Any:
    return SimpleNamespace(index=index, type=type, bottoms=("x",), tops=("y",), where=f"layers[{index}] {type}")


def test_a_layer_that_was_not_imported_is_wrong_or_was_not_reached() -> None:
    clauses: Any = SimpleNamespace(layers=[clause(1, "InnerProduct"), clause(2, "ReLU"), clause(3, "NoSuchLayer")])
    found = list(layer_checks(clauses, walk(placed(ShapeError("a"), "layers[1] InnerProduct"))))
    assert [each.status for each in found] == ["wrong", "not reached", "wrong"]
    # A ReLU has no weights wherever it stands; those of the others depend on what comes in.
    assert [each.expected_bytes for each in found] == [None, 0, None]
