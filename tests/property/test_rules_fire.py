"""The random graphs reach every rule of every pass, and each keeps what a graph computes."""

from __future__ import annotations

import inspect
import re
import sys
from collections import Counter
from functools import cache

import pytest
from hypothesis import given, settings

from hugectr2onnx import passes
from hugectr2onnx.ir.verifier import verify
from hugectr2onnx.passes.rewriter import Rule

from .models import BOUNDED, Model, imported, models
from .motifs import MOTIFS
from .test_random_graphs import answers, assert_same

LEVEL = 2
EXAMPLES = 60
"""For each motif."""
OWN_COUNT = re.compile(r'Fires\(\{"(\w+)"')
"""How a pass that is no list of rules names its one count."""
PASSES = (*passes.PIPELINES[LEVEL], *passes.FINISHING[LEVEL])
MODULES = {each.__name__: each.__module__.rpartition(".")[2] for each in PASSES}
PATHS = {each.__module__.rpartition(".")[2]: each.__module__ for each in PASSES}

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
    found = sys.modules[PATHS[module]]
    rules = {each.name for each in vars(found).values() if isinstance(each, Rule)}
    return {f"{module}.{name}" for name in rules | set(OWN_COUNT.findall(inspect.getsource(found)))}


@cache
def fires(motif: str) -> Counter[str]:
    """What fired in graphs with this motif, all of which were checked."""
    counted: Counter[str] = Counter()

    @settings(BOUNDED, max_examples=EXAMPLES)
    @given(models(MOTIFS[motif]))
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
@pytest.mark.parametrize("module", sorted(PATHS))
def test_every_rule_of_a_module_fires(module: str) -> None:
    """Motif after motif until every rule has fired; `-k MODULE` runs one module alone."""
    wanted, found = rules_of(module) - UNREACHABLE, Counter[str]()
    for motif in MOTIFS:
        if wanted <= set(found):
            break
        found += fires(motif)
    counted = {name for name in found if name.startswith(f"{module}.")}
    assert counted <= rules_of(module), "a pass counts under a name that rules_of does not find"
    assert sorted(wanted - counted) == [], "no random graph reaches these rules: add a motif"


@pytest.mark.slow
def test_rules_that_are_called_unreachable_are() -> None:
    found = sum(map(fires, MOTIFS), Counter[str]())
    assert sorted(UNREACHABLE & set(found)) == []
