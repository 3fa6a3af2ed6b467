"""Every error that hugectr2onnx raises on purpose: one family, one base.

Each message says where (JSON path, layer, file, byte) and what to do. Context is added on the way up with `add_note`,
which `str()` does not show: `describe()` gives the message and its notes together.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
MAX_TEXT = 1000
"""Characters of a message, the options that it names left out: files may hold names of any length."""
MAX_WORD = 200
"""Characters of a run without spaces in it, such as a path or a name."""
_NO_VALUE = object()
_LONG_WORD = re.compile(rf"\S{{{MAX_WORD + 1},}}")


@dataclass(frozen=True)
class Setting:
    """An option inside the message of an error, alone or with a value to give.

    `str()` writes it as Python code: `n_gpus`, or `n_gpus=4`. The command line writes it as its flag instead. An `Ellipsis`
    as the value, or in it, stands for what only the user knows.
    """

    option: str
    value: object = _NO_VALUE

    @property
    def has_value(self) -> bool:
        return self.value is not _NO_VALUE

    def __str__(self) -> str:
        if not self.has_value:
            return self.option
        return f"{self.option}={_code(self.value)}"


def _code(value: object) -> str:
    """`repr`, with `...` for an Ellipsis inside mappings and sequences too."""
    if value is Ellipsis:
        return "..."
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key!r}: {_code(each)}' for key, each in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_code, value))}]"
    return f"{repr(value[:MAX_WORD])[:-1]}...'" if isinstance(value, str) and len(value) > MAX_WORD else repr(value)


def _ends(text: str, most: int) -> str:
    """Return the text, its middle left out where it is long: its start says where, its end what to do."""
    half = (most - 3) // 2
    return text if len(text) <= most else f"{text[:half]}...{text[-half:]}"


def _bounded(text: str, most: int) -> str:
    return text if len(text) <= MAX_WORD else _ends(_LONG_WORD.sub(lambda word: _ends(word[0], MAX_WORD), text), most)


class HugeCTR2ONNXError(Exception):
    """The base of every error that bad input can raise.

    Errors about what a file or a value holds are ValueErrors too. The message is the arguments one after the other: texts,
    and a `Setting` for each option that it names. `options` are the names of these, or the `option` that is given.
    `exit_code` is what the command line returns: 2 a bad value of an option, 3 invalid input, 4 unsupported, 5 parity failed.
    Names of any length come out of damaged files: what is shown leaves out the middle of long ones, and of a long message.
    """

    exit_code: ClassVar[int] = 3
    max_text: ClassVar[int] = MAX_TEXT

    def __init__(self, *parts: object, option: str | None = None) -> None:
        super().__init__(*parts)
        named = [part.option for part in parts if isinstance(part, Setting)]
        self.options: tuple[str, ...] = tuple(dict.fromkeys([option, *named] if option else named))

    @property
    def option(self) -> str | None:
        """The name of the option that is wrong, or that mends it; None where the error is about none."""
        return self.options[0] if self.options else None

    def __str__(self) -> str:
        return self._message(str)

    def describe(self, write: Callable[[Setting], str] = str) -> str:
        """Return the message with the context added on the way up, a line each; `write` gives the text of a setting."""
        notes = (f"  {_bounded(note, self.max_text)}" for note in getattr(self, "__notes__", ()))
        return "\n".join([self._message(write), *notes])

    def _message(self, write: Callable[[Setting], str]) -> str:
        lengths = [len(str(part)) for part in self.args if not isinstance(part, Setting)]
        is_long = sum(lengths) > self.max_text
        most = max(MAX_WORD, self.max_text // len(lengths)) if is_long else self.max_text
        return "".join(write(part) if isinstance(part, Setting) else _bounded(str(part), most) for part in self.args)


class OptionError(HugeCTR2ONNXError, ValueError):
    """An option has a value that it cannot have, by itself or for this model."""

    exit_code = 2


class GraphJsonError(HugeCTR2ONNXError, ValueError):
    """The graph JSON cannot be read, or says something that HugeCTR would refuse too."""


class WeightsError(HugeCTR2ONNXError, ValueError):
    """A dense, sparse or ntp file is missing, short, long, misaligned or belongs to another model."""


class ShapeError(HugeCTR2ONNXError, ValueError):
    """Tensors that meet in one operation do not fit."""


class MissingInformationError(HugeCTR2ONNXError, ValueError):
    """The files do not hold what the model needs, and the caller must say it (`layer_attrs`, `input_shapes`)."""


class OutputError(HugeCTR2ONNXError):
    """The result cannot be written where it should go."""


class FeedError(HugeCTR2ONNXError, ValueError):
    """Inputs given to `CompiledModel.run` or `verify` do not fit the model's interface."""


class StoreError(HugeCTR2ONNXError):
    """A store of embedding rows does not answer, or holds something else than what was written to it."""


class StoreUnavailableError(StoreError):
    """A store, or the part of it that has some rows, does not answer now; it may answer later."""


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


class ErrorCollector:
    """The errors of several steps, in the order in which they were found: a step that fails does not stop the next."""

    def __init__(self) -> None:
        self.errors: list[HugeCTR2ONNXError] = []

    def attempt(self, step: Callable[P, T], *args: P.args, **keywords: P.kwargs) -> T | None:
        """Return the result of a step, or None if it raised an error of this family, which is then collected."""
        try:
            return step(*args, **keywords)
        except HugeCTR2ONNXError as error:
            self.errors.append(error)
            return None
