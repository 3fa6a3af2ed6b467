"""Every error that hugectr2onnx raises on purpose: one family, one base.

Each message says where (JSON path, layer, file, byte) and what to do. Context is added on the way up with `add_note`,
which `str()` does not show: `describe()` gives the message and its notes together.
"""

from __future__ import annotations

from typing import ClassVar


class HugeCTR2ONNXError(Exception):
    """The base of every error that bad input can raise.

    `exit_code` is what the command line returns: 3 invalid input, 4 unsupported, 5 parity failed.
    """

    exit_code: ClassVar[int] = 3

    def describe(self) -> str:
        """The message with the context that was added on the way up, a line each."""
        return "\n".join([str(self), *(f"  {note}" for note in getattr(self, "__notes__", ()))])


class GraphJsonError(HugeCTR2ONNXError):
    """The graph JSON cannot be read, or says something that HugeCTR would refuse too."""


class WeightsError(HugeCTR2ONNXError):
    """A dense, sparse or ntp file is missing, short, long, misaligned or belongs to another model."""


class ShapeError(HugeCTR2ONNXError):
    """Tensors that meet in one operation do not fit."""


class MissingInformationError(HugeCTR2ONNXError):
    """The files do not hold what the model needs, and the caller must say it (`layer_attrs`, `input_shapes`)."""


class OutputError(HugeCTR2ONNXError):
    """The result cannot be written where it should go."""


class FeedError(HugeCTR2ONNXError):
    """Inputs given to `CompiledModel.run` or `verify` do not fit the model's interface."""


class UnsupportedError(HugeCTR2ONNXError):
    """The model uses something that has no ONNX form here: a layer type, an embedding type, a v1.x file."""

    exit_code = 4


class ParityError(HugeCTR2ONNXError):
    """The emitted model does not compute what the reference computes."""

    exit_code = 5


class CompilerError(HugeCTR2ONNXError):
    """A defect of the compiler itself, found before it could reach a user's model."""


class VerificationError(CompilerError):
    """The IR breaks one of its invariants."""


class PassError(CompilerError):
    """A pass failed, looped, broke the IR or changed what the model computes."""
