"""Random graphs with products of bytes, however small: at every level the file computes what its bytes mean."""

from __future__ import annotations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hugectr2onnx import passes
from hugectr2onnx.backend.onnx.emitter import emit
from hugectr2onnx.backend.runtime import parity, quantized_parity
from hugectr2onnx.errors import UnsupportedError
from hugectr2onnx.ir.verifier import verify
from hugectr2onnx.passes import cost
from hugectr2onnx.passes.precision.quantize_products import quantize_products

from .models import BOUNDED, imported, models


@pytest.mark.slow
def test_every_level_computes_what_its_bytes_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "is_worth_int8", lambda *_, **__: True)
    quantized: list[int] = []

    @settings(BOUNDED, max_examples=60)
    @given(models(), st.sampled_from(sorted(passes.PIPELINES)), st.sampled_from(["int8", "int8-row"]))
    def check(model, level, precision):
        graph = imported(model)
        try:
            expected = parity.expect(graph)
        except UnsupportedError:
            assume(False)
        passes.run(graph, level)
        choices = quantize_products(graph, precision)
        verify(graph)
        if not quantized_parity.is_quantized(graph):
            return
        quantized.append(sum(each.precision == precision for each in choices))
        artifact = emit(graph, graph_name="g", opset=17, version="0", metadata={})
        quantized_parity.check(artifact, graph, expected)

    check()
    assert sum(quantized) > 20
