"""Protobuf's text format, in which Triton reads its configuration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_ESCAPES = {ord("\\"): "\\\\", ord('"'): '\\"', ord("\n"): "\\n"}


@dataclass(frozen=True)
class Word:
    """The name of an enumeration's value, which stands without quotes."""

    text: str


def protobuf_text(message: Mapping[str, Any]) -> str:
    """Return a message: mappings are messages in it, sequences of mappings repeated ones; None leaves a field out."""
    return "\n".join(_fields(message, "")) + "\n"


def _fields(message: Mapping[str, Any], indent: str) -> Iterator[str]:
    for name, value in message.items():
        if isinstance(value, Mapping):
            yield from _message(name, value, indent)
        elif _is_messages(value):
            for each in value:
                yield from _message(name, each, indent)
        elif value is not None:
            yield f"{indent}{name}: {_value(value)}"


def _message(name: str, value: Mapping[str, Any], indent: str) -> Iterator[str]:
    yield f"{indent}{name} {{"
    yield from _fields(value, f"{indent}  ")
    yield f"{indent}}}"


def _is_messages(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str) and all(isinstance(v, Mapping) for v in value)


def _value(value: Any) -> str:
    if isinstance(value, Word):
        return value.text
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f'"{value.translate(_ESCAPES)}"'
    if isinstance(value, Sequence):
        return f"[ {', '.join(map(_value, value))} ]"
    return str(value)
