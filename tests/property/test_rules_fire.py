"""The random graphs reach every rule of every pass, and each keeps what a graph computes."""

from __future__ import annotations

import inspect
import re
import sys
from collections import Counter

import pytest
from hypothesis import given, settings

from hugectr2onnx import passes
from hugectr2onnx.ir.verifier import verify
from hugectr2onnx.passes.rewriter import Rule

from .models import BOUNDED, Model, imported, models
from .motifs import MOTIFS, Motif
from .test_random_graphs import answers, assert_same

LEVEL = 2
EXAMPLES = 60
"""For each motif."""
OWN_COUNT = re.compile(r'Fires\(\{"(\w+)"')
"""How a pass that is no list of rules names its one count."""
PASSES = (*passes.PIPELINES[LEVEL], *passes.FINISHING[LEVEL])
MODULES = {each.__name__: each.__module__.rpartition(".")[2] for each in PASSES}

UNREACHABLE = {
    # No layer computes with its weights alone, and the passes fold what they compute of weights themselves.
    "fold_constants.fold_constants",
    "fold_constants.fold_arithmetic",
    # Only attention transposes, and never by the identity; merge_transposes drops pairs that cancel.
    "drop_identities.drop_transpose",
    # Only an MLP has a product without bias, of a matrix. What multiplies a matrix by constants in front of it is a
    # WeightMultiply, which fold_weight_multiply takes first; BatchNorm's scale is no Mul.
    "fold_linear_chains.product_of_scaled",
}
"""Rules for graphs that no importable model becomes, each tested by itself in tests/passes."""


def rules_of(module: str) -> set[str]:
    """The names under which the passes of a module count what they do."""
    found = sys.modules[f"hugectr2onnx.passes.{module}"]
    rules = {each.name for each in vars(found).values() if isinstance(each, Rule)}
    return {f"{module}.{name}" for name in rules | set(OWN_COUNT.findall(inspect.getsource(found)))}


def fires(motif: Motif) -> Counter[str]:
    """What fired in graphs with this motif, all of which were checked."""
    counted: Counter[str] = Counter()

    @settings(BOUNDED, max_examples=EXAMPLES)
    @given(models(motif))
    def check(model: Model) -> None:
        graph = imported(model)
        before = answers(graph)
        for done in passes.run(graph, LEVEL, validate=True):
            counted.update({f"{MODULES[done.name]}.{rule}": count for rule, count in done.fires.items()})
        verify(graph)
        assert_same(graph, before, exact=False)
        assert passes.run(graph, LEVEL) == ()

    check()
    return counted


@pytest.mark.slow
def test_every_rule_fires() -> None:
    known = set().union(*map(rules_of, MODULES.values()))
    counted = sum(map(fires, MOTIFS.values()), Counter())
    assert set(counted) <= known, "a pass counts under a name that rules_of does not find"
    assert sorted(known - set(counted) - UNREACHABLE) == [], "no random graph reaches these rules: add a motif"
    assert sorted(UNREACHABLE & set(counted)) == [], "these rules are reached after all"
