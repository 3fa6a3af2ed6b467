"""Level 3 has rules of its own for attention: random graphs reach them, and each keeps what a graph computes."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings

from hugectr2onnx import passes

from .models import BOUNDED, Model, imported, models
from .motifs import MOTIFS
from .test_random_graphs import answers, assert_same

LEVEL = 3


@pytest.mark.slow
@pytest.mark.parametrize("motif, rule", [("attention", "fuse_heads"), ("attention_by_layers", "find_wide_heads")])
def test_attention_becomes_one_operator(motif: str, rule: str) -> None:
    counted: Counter[str] = Counter()

    @settings(BOUNDED, max_examples=240)
    @given(models(MOTIFS[motif]))
    def check(model: Model) -> None:
        graph = imported(model)
        before = answers(graph)
        for done in passes.run(graph, LEVEL, validate=True):
            counted.update(done.fires)
        assert_same(graph, before, exact=False)
        assert passes.run(graph, LEVEL) == ()

    check()
    assert counted[rule]
