"""Tell which runtimes can take a model as it stands, and why another cannot: measured, not promised.

The answers are those of onnxruntime 1.32, OpenVINO 2026.4 (CPU) and the reference evaluator of onnx 1.23 on the sample models
at levels 2 and 3, under every key map and row format, with keys inside and beyond 32 bits; tests/end_to_end/test_openvino.py
and tests/end_to_end/test_reference_evaluator.py run them again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

_INT32_RANGE = range(-(1 << 31), 1 << 31)
"""What OpenVINO's CPU keeps of a 64-bit integer."""
Verdict = Literal["yes", "yes, if", "no"]


@dataclass(frozen=True)
class RunsOn:
    """The verdict on a runtime for a model; `reason` is the condition of "yes, if", or what is missing."""

    runtime: str
    verdict: Verdict
    reason: str


@dataclass(frozen=True)
class KeyMapUse:
    """The way from the keys of one table to its rows, and the smallest and largest key where they are known."""

    table: str
    strategy: str
    smallest_key: int | None = None
    largest_key: int | None = None

    @property
    def is_wide(self) -> bool:
        """Whether the table has keys that 32 bits cannot hold."""
        return any(key is not None and key not in _INT32_RANGE for key in (self.smallest_key, self.largest_key))


def runs_on(key_maps: Iterable[KeyMapUse]) -> tuple[RunsOn, ...]:
    """Return the verdict on each runtime for a model with these key maps; none where vectors are its inputs."""
    return (
        RunsOn("onnxruntime", "yes", "every operator has a kernel there, and keys are 64-bit integers"),
        _on_openvino(tuple(key_maps)),
        RunsOn("onnx reference evaluator", "yes", "it is slow, and for tests"),
    )


def _on_openvino(key_maps: tuple[KeyMapUse, ...]) -> RunsOn:
    name = "OpenVINO"
    encoded = _tables(key_maps, "label-encoder")
    if encoded:
        return RunsOn(name, "no", f'it has no LabelEncoder ({encoded}): use keys="direct" or "indices"')
    hashed = _tables(key_maps, "perfect-hash")
    if hashed:
        return RunsOn(name, "no", f'it cuts the 64-bit numbers of the hash to 32 bits ({hashed}): use keys="indices"')
    wide = ", ".join(each.table for each in key_maps if each.strategy == "direct" and each.is_wide)
    if wide:
        return RunsOn(name, "no", f'it cuts keys to 32 bits, and {wide} has larger ones: use keys="indices"')
    direct = _tables(key_maps, "direct")
    if direct:
        why = f"keys fit in 32 bits: it cuts larger ones, which then read rows of other keys ({direct})"
        return RunsOn(name, "yes, if", why)
    return RunsOn(name, "yes", "no key passes through the model")


def _tables(key_maps: Iterable[KeyMapUse], strategy: str) -> str:
    return ", ".join(each.table for each in key_maps if each.strategy == strategy)
