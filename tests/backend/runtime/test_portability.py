"""The verdicts on runtimes; tests/end_to_end/test_openvino.py runs what they say."""

from __future__ import annotations

import pytest

from hugectr2onnx.backend.runtime.portability import KeyMapUse, runs_on


@pytest.mark.parametrize(
    ("uses", "verdict", "reason"),
    [
        ([], "yes", "no key passes through the model"),
        ([KeyMapUse("a", "direct", 0, 9)], "yes, if", "keys fit in 32 bits: it cuts larger ones, which then read"),
        ([KeyMapUse("a", "direct", 0, 2**31 - 1)], "yes, if", "keys fit in 32 bits"),
        ([KeyMapUse("a", "direct", 0, 2**31)], "no", "it cuts keys to 32 bits, and a has larger ones"),
        ([KeyMapUse("a", "direct", -(2**31) - 1, 0)], "no", "and a has larger ones"),
        ([KeyMapUse("a", "direct"), KeyMapUse("b", "perfect-hash")], "no", "the hash to 32 bits (b)"),
        ([KeyMapUse("a", "label-encoder"), KeyMapUse("b", "perfect-hash")], "no", "it has no LabelEncoder (a)"),
    ],
)
def test_openvino(uses: list[KeyMapUse], verdict: str, reason: str) -> None:
    (found,) = [each for each in runs_on(uses) if each.runtime == "OpenVINO"]
    assert found.verdict == verdict
    assert reason in found.reason


def test_onnxruntime_and_the_reference_evaluator_take_every_key_map() -> None:
    for strategy in ("direct", "label-encoder", "perfect-hash"):
        verdicts = {each.runtime: each.verdict for each in runs_on([KeyMapUse("a", strategy, 0, 2**60)])}
        assert verdicts["onnxruntime"] == verdicts["onnx reference evaluator"] == "yes"
