"""Judge each layer by a dry walk over all of them; errors that only follow from others are left out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from hugectr2onnx.checking.report import FLOAT_BYTES, LayerCheck, Status
from hugectr2onnx.errors import HugeCTR2ONNXError, MissingInformationError
from hugectr2onnx.frontend.graph_json.clauses import GraphClauses
from hugectr2onnx.frontend.importer import Importer
from hugectr2onnx.frontend.layers.layer import REGISTRY, Layer


def layer_checks(clauses: GraphClauses, importer: Importer) -> Iterator[LayerCheck]:
    """Yield every layer with its shapes and weights, or whether it is wrong or was not reached."""
    summaries = {summary.index: summary for summary in importer.summaries}
    wrong = {_place(error) for error in importer.errors}
    for clause in clauses.layers:
        summary = summaries.get(clause.index)
        if summary is not None:
            yield LayerCheck(
                clause.index,
                summary.type,
                clause.bottoms,
                clause.tops,
                "ok",
                summary.shapes,
                summary.weights,
                FLOAT_BYTES * summary.floats,
            )
            continue
        is_wrong = clause.where in wrong or clause.type not in REGISTRY
        status: Status = "wrong" if is_wrong else "not reached"
        size = 0 if _never_has_weights(clause.type) else None
        yield LayerCheck(clause.index, clause.type, clause.bottoms, clause.tops, status, expected_bytes=size)


def drop_consequential_errors(importer: Importer, question: HugeCTR2ONNXError | None) -> list[HugeCTR2ONNXError]:
    """Return the errors of the walk, without those that only follow from another.

    `question` is what should have been recovered from the dense file and was not.
    """
    errors = list(importer.errors)
    if not importer.graph.inputs:
        # Without an interface every layer lacks its bottoms; where nothing else is wrong, that is what is wrong.
        errors = [error for error in errors if not _place(error)] or errors
    others = [error for error in errors if not (question and _is_asked(error, question))]
    if question is None or others:
        # Next to other errors nothing can be recovered, and the question would be beside the point.
        return errors
    return [question]


def _never_has_weights(type: str) -> bool:
    return type in REGISTRY and REGISTRY[type].weights is Layer.weights


def _place(error: HugeCTR2ONNXError) -> str:
    """Return the layer that the importer has noted on an error, else nothing."""
    notes: Iterable[str] = getattr(error, "__notes__", ())
    return next((note.removeprefix("while importing ") for note in notes if note.startswith("while importing ")), "")


def _is_asked(error: HugeCTR2ONNXError, question: HugeCTR2ONNXError) -> bool:
    """Tell whether the question is about the very layer of the error."""
    return isinstance(error, MissingInformationError) and bool(_place(error)) and _place(error) in str(question)
