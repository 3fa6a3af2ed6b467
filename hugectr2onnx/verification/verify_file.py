"""`verify`: an ONNX file on disk against the HugeCTR model that it came from, and against HugeCTR's own predictions."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import onnx

from hugectr2onnx.backend.onnx.onnx_file import as_artifact, read_model
from hugectr2onnx.backend.runtime import parity, sessions
from hugectr2onnx.backend.runtime.parity import Expectation, Parity
from hugectr2onnx.datasets.recorded_predictions import Samples, read_samples
from hugectr2onnx.errors import FeedError, ParityError
from hugectr2onnx.frontend.graph_json import reader
from hugectr2onnx.frontend.graph_json.clauses import GraphClauses
from hugectr2onnx.frontend.layers.registration import layer_types
from hugectr2onnx.frontend.loading import load
from hugectr2onnx.frontend.resolved_options import ResolvedOptions, resolve_options
from hugectr2onnx.ir.graph import Graph
from hugectr2onnx.options import METADATA_KEY, Options
from hugectr2onnx.passes.lookups.row_number_inputs import row_number_inputs

RTOL = ATOL = 1e-4
"""HugeCTR computes in float32 on a GPU, in an order of its own: further from float64 than onnxruntime is."""

StrPath = str | os.PathLike[str]


@dataclass(frozen=True)
class Comparison:
    """Answers against predictions that HugeCTR made: the largest difference over the tolerance there, how many exceed it."""

    output: str
    answers_of: str
    max_error: float
    tolerance: float
    exceeding: int
    elements: int

    @property
    def passed(self) -> bool:
        return self.exceeding == 0


@dataclass(frozen=True)
class Verification:
    """A file that passed: `parity` on generated feeds, `comparisons` with recorded predictions."""

    path: str
    parity: Parity
    comparisons: tuple[Comparison, ...] = ()
    rows: int = 0
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Everything, as JSON-ready data."""
        return asdict(self)


def verify(
    onnx_path: StrPath,
    graph: StrPath | Mapping[str, object],
    weights: object,
    samples: StrPath | None = None,
    *,
    options: Options | None = None,
    rtol: float = RTOL,
    atol: float = ATOL,
) -> Verification:
    """Run an ONNX file and compare every output with the float64 reference of the HugeCTR model.

    `samples` is an .npz file of inputs and of HugeCTR's predictions, by the names of the ONNX model's inputs and outputs:
    the file and the reference are then compared with the predictions, `|d| <= atol + rtol * |prediction|`. `options` are
    those of the compilation; without them the ones that the file's metadata states.

    Raises ParityError where anything is out of tolerance, FeedError for a file or samples that do not fit the model, and
    what `compile` raises for the HugeCTR model.
    """
    model = read_model(onnx_path)
    stored = stored_options(model)
    resolved = resolve_options(options or stored)
    fitted = _fitted(resolved, reader.read(graph, layer_types(resolved.options)), model)
    fitted.check_keys_kept(_metadata(model), os.fspath(onnx_path))
    loaded = load(graph, weights, fitted)
    row_number_inputs(loaded.graph, stored.keys)
    session = sessions.open_session(onnx_path)
    _check_interface(onnx_path, loaded.graph, session)
    recorded = read_samples(samples, session) if samples is not None else None
    passed = _compare_with_reference(onnx_path, model, session, parity.expect(loaded.graph))
    warnings = loaded.warnings
    if recorded is None:
        return Verification(os.fspath(onnx_path), passed, warnings=warnings)
    comparisons = _compare_with_predictions(loaded.graph, session, recorded, rtol, atol)
    return Verification(os.fspath(onnx_path), passed, comparisons, recorded.rows, warnings)


# What the file says about itself


def stored_options(model: onnx.ModelProto | StrPath) -> Options:
    """The options that a model was compiled with, from its metadata; the defaults where it states none."""
    return Options.from_metadata(_metadata(model if isinstance(model, onnx.ModelProto) else read_model(model)))


def _metadata(model: onnx.ModelProto) -> str | None:
    return next((entry.value for entry in model.metadata_props if entry.key == METADATA_KEY), None)


def _fitted(resolved: ResolvedOptions, clauses: GraphClauses, model: onnx.ModelProto) -> ResolvedOptions:
    """The options, and what the inputs of the file tell: a file of another converter has no metadata."""
    options = resolved.options
    inputs = {each.name for each in model.graph.input}
    vectors = {clause.top for clause in clauses.embeddings} - options.input_shapes.keys()
    keys = {clause.bottom for clause in clauses.embeddings}
    takes_vectors = bool(vectors & inputs) and not keys & inputs
    keeps_dense = clauses.data.dense_dim == 0 and clauses.data.dense_top in inputs
    return resolved.changed(
        convert_embedding=options.convert_embedding and not takes_vectors,
        keep_empty_dense=options.keep_empty_dense or keeps_dense,
    )


def _check_interface(path: StrPath, graph: Graph, session: Any) -> None:
    wanted = {"inputs": {v.node.name for v in graph.inputs}, "outputs": set(graph.outputs)}
    found = {
        "inputs": {each.name for each in session.get_inputs()},
        "outputs": {each.name for each in session.get_outputs()},
    }
    for kind, names in wanted.items():
        if names != found[kind]:
            raise FeedError(
                f"{os.fspath(path)}: has the {kind} {_listed(found[kind])}, the HugeCTR model gives {_listed(names)}. Is it "
                "the file of another model, or was it compiled with other options?"
            )


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names)) or "none"


# Against the reference


def _compare_with_reference(
    path: StrPath, model: onnx.ModelProto, session: Any, expected: Sequence[Expectation]
) -> Parity:
    """The file itself, as it lies there; then once more with the logits as outputs, for saturated predictions."""
    try:
        answers = [sessions.run(session, each.feeds) for each in expected]
        parity.compare(expected, answers)
        return parity.check(as_artifact(model, path), expected)
    except FeedError as error:
        raise ParityError(f"{os.fspath(path)}: does not run on inputs of the model's interface: {error}") from error
    except ParityError as error:
        error.add_note(f"while comparing {os.fspath(path)}")
        raise


# Against predictions


def _compare_with_predictions(
    graph: Graph, session: Any, recorded: Samples, rtol: float, atol: float
) -> tuple[Comparison, ...]:
    answers = sessions.run(session, recorded.feeds)
    try:
        expected = parity.expect_for(graph, recorded.feeds, recorded.rows)
    except MemoryError:
        raise FeedError(f"the reference needs too much memory for {recorded.rows} rows at once: give fewer") from None
    parity.compare([expected], [answers])
    comparisons = tuple(
        _compare(name, who, found[name], recorded.shaped(name, found[name].shape), rtol, atol)
        for name in recorded.predictions
        for who, found in (("the file", answers), ("the reference", expected.reference))
    )
    if not all(each.passed for each in comparisons):
        raise ParityError(_verdict(comparisons, recorded))
    return comparisons


def _compare(
    name: str, who: str, found: np.ndarray[Any, Any], prediction: np.ndarray[Any, Any], rtol: float, atol: float
) -> Comparison:
    with np.errstate(all="ignore"):
        error = np.abs(found.astype(np.float64) - prediction)
        allowed = atol + rtol * np.abs(prediction)
    error[np.isnan(found) & np.isnan(prediction) | (found == prediction)] = 0.0
    error[np.isnan(error)] = np.inf
    excess = error - np.where(np.isfinite(allowed), allowed, atol)
    worst = np.unravel_index(int(np.argmax(excess)), error.shape) if error.size else ()
    return Comparison(
        output=name,
        answers_of=who,
        max_error=float(error.max(initial=0.0)),
        tolerance=float(allowed[worst]) if error.size else atol,
        exceeding=int(np.count_nonzero(excess > 0)),
        elements=int(error.size),
    )


def _verdict(comparisons: Sequence[Comparison], recorded: Samples) -> str:
    lines = [f"HugeCTR's predictions in {recorded.path} are not those of this model:"]
    lines += [
        f"  {each.output}: {each.answers_of} differs in {each.exceeding} of {each.elements} elements, by up to "
        f"{each.max_error:.3g} where {each.tolerance:.3g} is allowed"
        for each in comparisons
        if not each.passed
    ]
    lines.append(
        "the file and the reference agree with one another: check that weights, iteration, keys and dense features are "
        "those that the predictions were made with, or give wider --rtol and --atol"
    )
    return "\n".join(lines)
