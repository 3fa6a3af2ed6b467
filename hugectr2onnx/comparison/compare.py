"""`compare`: two forms of one model, tensor by tensor in the order of the layers, and the first layer at which they part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from hugectr2onnx.comparison.answers import run_file
from hugectr2onnx.comparison.causes import Departure, explain
from hugectr2onnx.comparison.constants import ConstantDifference, of_file, of_graphs
from hugectr2onnx.comparison.feeds import DRAWN_ROWS, choose_feeds
from hugectr2onnx.comparison.folded_weights import behind
from hugectr2onnx.comparison.fused_constants import refined
from hugectr2onnx.comparison.fusion import is_other_tensor, part_inside_the_compiler
from hugectr2onnx.comparison.measures import Measure
from hugectr2onnx.comparison.pairing import Pairing, pair
from hugectr2onnx.comparison.result import FirstDifference, ModelComparison, TensorComparison
from hugectr2onnx.comparison.sides import FileSide, ModelSide, Recording, Side, open_sides
from hugectr2onnx.comparison.tensors import values_of
from hugectr2onnx.datasets.recorded_predictions import ATOL, RECORDED_RTOL
from hugectr2onnx.errors import FeedError, OptionError
from hugectr2onnx.ir import expectation
from hugectr2onnx.ir.evaluator import evaluate_values
from hugectr2onnx.ir.expectation import Expectation
from hugectr2onnx.ir.given_requests import Feeds
from hugectr2onnx.ir.types import Array
from hugectr2onnx.options import Options, Progress
from hugectr2onnx.verification.common_traits import common_traits
from hugectr2onnx.verification.explanation import of_tables
from hugectr2onnx.verification.recorded import excess
from hugectr2onnx.verification.whole_tables import compare_tables


def compare(
    a: Any,
    b: Any,
    *,
    weights: Any = None,
    other_weights: Any = None,
    data: Any = None,
    tensors: Sequence[str] | None = None,
    options: Options | None = None,
    rtol: float | None = None,
    atol: float | None = None,
    rows: int = DRAWN_ROWS,
    seed: int = 0,
    quick: bool = False,
    progress: Progress | None = None,
) -> ModelComparison:
    """Compare two forms of one model layer by layer, and name the first layer at which they part, with the likely cause.

    a, b: each a HugeCTR model (the graph JSON, with `weights`; those of b are `other_weights` where they differ), an ONNX file
    (of this compiler at any level, or of any other converter that names its tensors after HugeCTR's tops), a CompiledModel,
    or recorded tensors: an .npz file, a folder of .npy files, or a mapping of names to arrays.

    data: inputs as an .npz file or a mapping, or a data set where a side is an ONNX file; otherwise those of a recording,
    otherwise `rows` random samples of `seed`. tensors: only these. options: how the HugeCTR model is read; without them as the
    ONNX file on the other side says.

    Beside a HugeCTR model the tolerance is that of `compile`'s own proof. Where a side is a recording, or neither is a HugeCTR
    model, elements may also be off by `atol + rtol * |A|`, 1e-4 each unless told. Beside a file of this compiler, tables and
    constants are compared as a whole too; `quick` leaves that out.

    Nothing is raised for a difference: `ModelComparison.first` names it. Raises FeedError and OptionError for sides, inputs
    and names that do not fit, and what loading a HugeCTR model raises.
    """
    first, second = open_sides(a, b, weights, other_weights, options)
    job = _Job(first, second, rtol, atol, quick, progress)
    return job.run(choose_feeds(first, second, data, rows, seed), tensors)


@dataclass(frozen=True, eq=False)
class _Batch:
    """The tensors that both sides gave for some inputs, by the names of the reference."""

    feeds: Feeds
    reference: Mapping[str, Array]
    found: Mapping[str, Array]
    tolerances: Mapping[str, Array]
    expected: Expectation | None


@dataclass
class _Job:
    a: Side
    b: Side
    rtol: float | None
    atol: float | None
    quick: bool
    progress: Progress | None
    measures: dict[str, Measure] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    kept: _Batch | None = None
    """The first batch in which something departs."""

    @property
    def reference(self) -> Side:
        """The side against which the other is measured: a HugeCTR model where there is one."""
        return self.b if isinstance(self.b, ModelSide) and not isinstance(self.a, ModelSide) else self.a

    @property
    def other(self) -> Side:
        return self.a if self.reference is self.b else self.b

    def run(self, feeds: Any, wanted: Sequence[str] | None) -> ModelComparison:
        pairing = _chosen(pair(self.reference, self.other), wanted)
        self.reasons |= pairing.reasons
        count = 0
        for number, batch in enumerate(feeds.batches):
            self._tell("tensors", min(0.9, number / 10))
            count += max((len(array) for array in batch.values()), default=0)
            self._measure(self._answers(pairing, batch))
        if not count and not self.measures:
            raise FeedError(f"{self.a.name} and {self.b.name} share no tensor by name: {_listed(pairing.reasons)}")
        self._check_pairs()
        differences = self._differences()
        first = self._first(pairing, differences)
        rows = tuple(self._row(tensor, pairing) for tensor in pairing.outline.tensors)
        self._tell("done", 1.0)
        samples = count or len(next(iter(self._some_array()), ()))
        return ModelComparison(self.a.name, self.b.name, samples, feeds.name, rows, first, tuple(self.notes))

    def _tell(self, stage: str, share: float) -> None:
        if self.progress is not None:
            self.progress(stage, share)

    def _some_array(self) -> list[Array]:
        return [array for side in (self.a, self.b) if isinstance(side, Recording) for array in side.arrays.values()]

    # Tensors

    def _answers(self, pairing: Pairing, feeds: Feeds) -> _Batch:
        names = pairing.names
        found = _of_side(self.other, feeds, names)
        reference, expected = self.reference, None
        if isinstance(reference, ModelSide):
            graph, values = reference.source.loaded.graph, values_of(reference.source.loaded)
            batch = max((len(array) for array in feeds.values()), default=1)
            expected = expectation.expect(graph, {name: values[name] for name in names}, feeds, batch)
            arrays = expected.reference
        else:
            arrays = _of_side(reference, feeds, {name: name for name in names})
        shaped = {name: self._shaped(name, array, arrays[name]) for name, array in found.items()}
        kept = {name: array for name, array in shaped.items() if array is not None}
        tolerances = {name: self._tolerance(name, arrays[name], array, expected) for name, array in kept.items()}
        return _Batch(feeds, {name: arrays[name] for name in kept}, kept, tolerances, expected)

    def _shaped(self, name: str, found: Array, reference: Array) -> Array | None:
        if found.size == reference.size:
            return found.reshape(reference.shape)
        self.reasons[name] = f"the shapes differ: {list(reference.shape)} and {list(found.shape)}"
        return None

    def _tolerance(self, name: str, reference: Array, found: Array, expected: Expectation | None) -> Array:
        plain = expected is None or isinstance(self.other, Recording)
        rtol, atol = (
            given if given is not None else usual * plain
            for given, usual in ((self.rtol, RECORDED_RTOL), (self.atol, ATOL))
        )
        with np.errstate(all="ignore"):
            allowed = np.nan_to_num(atol + rtol * np.abs(reference.astype(np.float64)), posinf=0.0)
        return allowed if expected is None else np.maximum(allowed, expected.errors(name, found)[1])

    def _measure(self, batch: _Batch) -> None:
        for name, found in batch.found.items():
            reference, tolerance = batch.reference[name], batch.tolerances[name]
            error = batch.expected.errors(name, found)[0] if batch.expected else excess(found, reference, 0.0, 0.0)[0]
            self.measures.setdefault(name, Measure()).add(reference, found, error, tolerance)
        if self.kept is None and any(measure.differs for measure in self.measures.values()):
            self.kept = batch

    def _check_pairs(self) -> None:
        """Set aside tensors whose name survived fusion while their meaning did not."""
        for name, reason in is_other_tensor(self.reference, self.other, self._departing(), self.kept).items():
            del self.measures[name]
            self.reasons[name] = reason

    def _departing(self) -> list[str]:
        return [name for name, measure in self.measures.items() if measure.differs]

    def _row(self, tensor: Any, pairing: Pairing) -> TensorComparison:
        measure = self.measures.get(tensor.name)
        if measure is not None:
            return measure.row(tensor)
        reason = self.reasons.get(tensor.name, "not paired")
        return TensorComparison(tensor.name, tensor.layer, tensor.type, reason=reason)

    # Constants and tables

    def _differences(self) -> list[ConstantDifference]:
        reference, other = self.reference, self.other
        if self.quick or not isinstance(reference, ModelSide):
            return []
        graph = reference.source.loaded.graph
        if isinstance(other, ModelSide):
            return list(of_graphs(graph, other.source.loaded.graph))
        if not isinstance(other, FileSide):
            return []
        self._tell("tables", 0.9)
        tables = compare_tables(graph, other.artifact, None)
        self.notes += [
            f"table {each.table} was not compared as a whole: {each.not_compared}"
            for each in tables
            if each.not_compared
        ]
        found = [ConstantDifference(each.table, (each.table,), text) for each in tables for text in of_tables([each])]
        names = {name for each in tables if not each.not_compared for name in (each.tensor, each.scales) if name}
        constants, why = of_file(other.artifact, reference.source, names)
        self.notes += [f"constants were not compared one by one: {why}"] if why else []
        return [*found, *constants]

    # Where they part

    def _first(self, pairing: Pairing, differences: Sequence[ConstantDifference]) -> FirstDifference | None:
        outline, departing = pairing.outline, set(self._departing())
        tensor = next((each for each in outline.tensors if each.name in departing), None)
        if tensor is None:
            return self._unreached(pairing, differences)
        layers = outline.stretch(tensor.layer, self.measures.keys())
        if not isinstance(self.reference, ModelSide) or self.kept is None or self.kept.expected is None:
            return FirstDifference(layers[-1] if layers else tensor.layer, tensor.name, None, layers)
        if tensor.name not in self.kept.found:
            return FirstDifference(layers[-1], tensor.name, None, layers)
        self._tell("causes", 0.95)
        loaded = self.reference.source.loaded
        departure = Departure(
            source=self.reference.source,
            outline=outline,
            tensor=tensor.name,
            target=values_of(loaded)[tensor.name],
            layers=layers,
            expected=self.kept.expected,
            found={name: array.astype(np.float64) for name, array in self.kept.found.items() if name in self.measures},
            tolerances=self.kept.tolerances,
            other=self.other,
            differences=differences,
        )
        explained = explain(departure)
        self._note_traits(departure)
        layer, cause = explained.layer, explained.cause
        if cause is None and len(layers) > 1:
            layer, cause = part_inside_the_compiler(departure) or (layer, cause)
        return FirstDifference(layer, tensor.name, cause, layers)

    def _unreached(self, pairing: Pairing, differences: Sequence[ConstantDifference]) -> FirstDifference | None:
        """Tell where every tensor agrees and a constant does not: no input reaches it."""
        order = {tensor.layer: place for place, tensor in enumerate(pairing.outline.tensors)}
        found = list(refined(differences, pairing.outline))
        if isinstance(self.reference, ModelSide) and isinstance(self.other, FileSide):
            found = list(behind(self.reference.source, differences, pairing.outline, ())) or found
        for layer, text in sorted(found, key=lambda each: order.get(each[0], len(order))):
            name = next(each.name for each in differences if each.name in text)
            return FirstDifference(layer, name, f"{text}; no input of this comparison reaches it")
        return None

    def _note_traits(self, departure: Departure) -> None:
        found, reference = departure.found[departure.tensor], departure.expected.reference[departure.tensor]
        count = departure.expected.batch
        if len(found) == count:
            wrong = (np.abs(found - reference) > departure.tolerances[departure.tensor]).reshape(count, -1).any(axis=1)
            self.notes += common_traits(departure.source.loaded.graph, departure.feeds, wrong)


def _of_side(side: Side, feeds: Feeds, names: Mapping[str, str]) -> dict[str, Array]:
    """Return tensors by the names of the reference; `names` gives those of the side."""
    if isinstance(side, FileSide):
        answers = run_file(side.artifact, feeds, sorted(set(names.values())))
    elif isinstance(side, Recording):
        answers = dict(side.arrays)
    else:
        values = values_of(side.source.loaded)
        wanted = list(dict.fromkeys(names.values()))
        arrays = evaluate_values(side.source.loaded.graph, [values[name] for name in wanted], feeds)
        answers = dict(zip(wanted, arrays, strict=True))
    return {name: np.asarray(answers[own]) for name, own in names.items()}


def _chosen(pairing: Pairing, wanted: Sequence[str] | None) -> Pairing:
    """Return the pairing of the tensors that were asked for. Raises OptionError for a name that there is not."""
    if wanted is None:
        return pairing
    known = {tensor.name for tensor in pairing.outline.tensors}
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise OptionError(
            f"tensors names {unknown[0]!r}, which is not among {_listed(dict.fromkeys(known, ''))}", option="tensors"
        )
    tensors = tuple(tensor for tensor in pairing.outline.tensors if tensor.name in wanted)
    names = {name: own for name, own in pairing.names.items() if name in wanted}
    return replace(pairing, outline=replace(pairing.outline, tensors=tensors), names=names)


def _listed(names: Mapping[str, str]) -> str:
    shown = sorted(names)
    return ", ".join(shown[:12]) + (", ..." if len(shown) > 12 else "") or "none"
