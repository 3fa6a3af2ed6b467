"""The pipelines of the levels, and the loop that runs them.

A pass is a function from a Graph to its fires: how often each of its rules changed the graph. After every pass the graph
is verified; the passes of a level repeat until none changes anything.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from hugectr2onnx.errors import HugeCTR2ONNXError, OutputError, PassError
from hugectr2onnx.ir.graph import Graph
from hugectr2onnx.ir.verifier import verify
from hugectr2onnx.passes.algebra.broadcast_repeats import broadcast_repeats
from hugectr2onnx.passes.algebra.distribute_narrow_products import distribute_narrow_products
from hugectr2onnx.passes.algebra.drop_softmax_shift import drop_softmax_shift
from hugectr2onnx.passes.algebra.flatten_linears import flatten_linears
from hugectr2onnx.passes.algebra.fold_add_into_linear import fold_add_into_linear
from hugectr2onnx.passes.algebra.fold_batch_norm import fold_batch_norm
from hugectr2onnx.passes.algebra.fold_layer_norms import fold_layer_norms
from hugectr2onnx.passes.algebra.fold_linear_chains import fold_linear_chains
from hugectr2onnx.passes.algebra.fold_weight_multiply import fold_weight_multiply
from hugectr2onnx.passes.algebra.fold_weighted_sums import fold_weighted_sums
from hugectr2onnx.passes.algebra.fuse_activation import fuse_activation
from hugectr2onnx.passes.algebra.fuse_bias import fuse_bias
from hugectr2onnx.passes.algebra.fuse_layer_norm import fuse_layer_norm
from hugectr2onnx.passes.algebra.merge_narrow_products import merge_narrow_products
from hugectr2onnx.passes.algebra.merge_softmaxes import merge_softmaxes
from hugectr2onnx.passes.algebra.reassociate_sums import reassociate_sums
from hugectr2onnx.passes.algebra.sink_reshapes import sink_reshapes
from hugectr2onnx.passes.cleanup.canonicalize_data_movement import canonicalize_data_movement
from hugectr2onnx.passes.cleanup.drop_identities import drop_identities
from hugectr2onnx.passes.cleanup.fold_constants import fold_arithmetic, fold_constants
from hugectr2onnx.passes.cleanup.merge_duplicates import merge_duplicates
from hugectr2onnx.passes.cleanup.prune import prune
from hugectr2onnx.passes.cleanup.prune_slots import prune_slots
from hugectr2onnx.passes.cleanup.split_slices import split_slices
from hugectr2onnx.passes.finishing.accumulate_products import accumulate_products
from hugectr2onnx.passes.finishing.expand_recurrences import expand_recurrences
from hugectr2onnx.passes.finishing.transpose_single_column_products import transpose_single_column_products
from hugectr2onnx.passes.lookups.shape_lookups import shape_lookups
from hugectr2onnx.passes.recommender.batch_expert_products import batch_expert_products
from hugectr2onnx.passes.recommender.expand_attention import expand_attention
from hugectr2onnx.passes.recommender.expand_cross_networks import expand_cross_networks
from hugectr2onnx.passes.recommender.expand_factorization_machines import expand_factorization_machines
from hugectr2onnx.passes.recommender.find_attention import find_attention
from hugectr2onnx.passes.recommender.fold_interactions import fold_interactions
from hugectr2onnx.passes.recommender.fuse_attention import fuse_attention
from hugectr2onnx.passes.recommender.simplify_dice import simplify_dice
from hugectr2onnx.passes.recommender.split_repeats import split_repeats
from hugectr2onnx.passes.recommender.stack_heads import stack_heads
from hugectr2onnx.passes.rewriter import Fires
from hugectr2onnx.passes.validation import Validation

Pass = Callable[[Graph], Fires]

EXACT: tuple[Pass, ...] = (
    prune,
    drop_identities,
    fold_constants,
    prune_slots,
    merge_duplicates,
    fuse_bias,
    fuse_activation,
)
ALGEBRAIC: tuple[Pass, ...] = (
    *EXACT,
    fold_arithmetic,
    fold_batch_norm,
    fold_weight_multiply,
    expand_factorization_machines,
    expand_cross_networks,
    fold_interactions,
    canonicalize_data_movement,
    fold_linear_chains,
    flatten_linears,
    find_attention,
    stack_heads,
    split_repeats,
    drop_softmax_shift,
    broadcast_repeats,
    fold_weighted_sums,
    simplify_dice,
    expand_attention,
    fuse_layer_norm,
    sink_reshapes,
    fold_add_into_linear,
    fold_layer_norms,
    distribute_narrow_products,
    merge_narrow_products,
    reassociate_sums,
    split_slices,
    merge_softmaxes,
)

_EXPANSION = ALGEBRAIC.index(expand_attention)
FASTEST: tuple[Pass, ...] = (*ALGEBRAIC[:_EXPANSION], fuse_attention, *ALGEBRAIC[_EXPANSION:])

LAST: tuple[Pass, ...] = (
    batch_expert_products,
    transpose_single_column_products,
    expand_recurrences,
    accumulate_products,
    shape_lookups,
)

PIPELINES: Mapping[int, tuple[Pass, ...]] = {
    0: (),  # faithful: one plain expansion per layer
    1: EXACT,  # exact: the evaluator's output is array_equal before and after
    2: ALGEBRAIC,  # algebraic: equal within the stated tolerance, standard ONNX operators only
    3: FASTEST,  # for onnxruntime's CPU: operators of com.microsoft and of later opsets allowed
}
FINISHING: Mapping[int, tuple[Pass, ...]] = {
    0: (),
    1: (),
    2: LAST,
    3: LAST,
}
"""Passes run after the main pipeline reaches a fixpoint. They produce forms that the other passes do not match."""
EXACT_LEVEL = 1
"""The highest level whose passes round nothing."""
MAX_PIPELINE_ROUNDS = 50

log = logging.getLogger("hugectr2onnx.passes")


class Check(Protocol):
    """Judges the graph after each pass that changed it."""

    def check(self, graph: Graph, pass_name: str) -> None:
        """Raise PassError if the graph computes something else."""


@dataclass(frozen=True)
class PassRun:
    """One run of one pass that changed something."""

    name: str
    fires: Mapping[str, int]
    ops_before: int
    ops_after: int


def run(graph: Graph, level: int, *, validate: bool | Check = False, dump: Path | None = None) -> tuple[PassRun, ...]:
    """Run the passes of a level on a graph, in place, until nothing changes.

    With `validate` the outputs are evaluated before and after every pass on random feeds (translation validation), or judged
    by a check of the caller's; with
    `dump` each change leaves a numbered IR text in that folder. Raises PassError that names the pass and what ran before.
    """
    runs: list[PassRun] = []
    own = Validation(graph, exact=level <= EXACT_LEVEL) if validate is True else None
    validation = own if isinstance(validate, bool) else validate
    _dump(graph, dump, 0, "imported")

    def changed(pipeline: tuple[Pass, ...]) -> bool:
        before = len(runs)
        for each in pipeline:
            done = _run_one(each, graph, validation, runs)
            if done.fires:
                runs.append(done)
                _dump(graph, dump, len(runs), done.name)
        return len(runs) > before

    for _ in range(MAX_PIPELINE_ROUNDS):
        if not changed(PIPELINES[level]) and not changed(FINISHING[level]):
            return tuple(runs)
    busiest = Counter({name: n for each in runs[-20:] for name, n in each.fires.items()})
    raise PassError(f"the passes of level {level} undo one another: {', '.join(n for n, _ in busiest.most_common(4))}")


def _run_one(each: Pass, graph: Graph, validation: Check | None, runs: list[PassRun]) -> PassRun:
    before, text = len(graph), str(graph) if log.isEnabledFor(logging.DEBUG) else ""
    name = each.__name__
    try:
        fires = each(graph)
        if fires:
            verify(graph)
            if validation:
                validation.check(graph, name)
    except MemoryError:
        raise  # the machine is at fault, not the pass
    except Exception as error:
        ran = ", ".join(done.name for done in runs[-10:]) or "nothing"
        window = "\n".join(str(graph).splitlines()[:40])
        said = error if isinstance(error, HugeCTR2ONNXError) else repr(error)
        raise PassError(f"pass {name} failed: {said}\nran before: {ran}\n{text or window}") from error
    if fires:
        spelled = ", ".join(f"{rule}: {count} fired" for rule, count in fires.items())
        log.info("%s, %d -> %d ops", spelled, before, len(graph))
    return PassRun(name, fires, before, len(graph))


def _dump(graph: Graph, folder: Path | None, number: int, name: str) -> None:
    if folder is not None:
        path = folder / f"{number:03d}_{name}.txt"
        try:
            # Dumps of an earlier run are replaced, other files are not.
            if path.exists() and not path.read_text(encoding="utf-8", errors="replace").startswith("graph @"):
                raise OutputError(
                    f"cannot write the IR text {path}: it is there already and not an IR text; give another folder"
                )
            path.write_text(f"{graph}\n", encoding="utf-8")
        except OSError as error:
            raise OutputError(
                f"cannot write the IR text {path}: {error.strerror}; give a folder that exists"
            ) from error


__all__ = ["EXACT_LEVEL", "FINISHING", "PIPELINES", "Fires", "Pass", "PassRun", "run"]
