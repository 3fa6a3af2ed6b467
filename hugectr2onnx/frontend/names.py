"""Tensor names: what a layer's `bottom` and `top` may hold."""

from __future__ import annotations

from hugectr2onnx.frontend.fields import Fields

LONGEST_NAME = 1000


def checked_name(fields: Fields, key: str, name: str) -> str:
    """The name itself; raises GraphJsonError where it is empty, endless or holds control characters."""
    if not name:
        raise fields.wrong(key, "the name of a tensor", name)
    if len(name) > LONGEST_NAME:
        raise fields.wrong(key, f"a name of at most {LONGEST_NAME} characters", name)
    if any(character < " " or character == "\x7f" for character in name):
        raise fields.wrong(key, "a name without control characters", ascii(name))
    return name


def checked_names(fields: Fields, key: str) -> tuple[str, ...]:
    """One name or a list of names, at least one."""
    names = tuple(checked_name(fields, key, name) for name in fields.strings(key))
    if not names:
        raise fields.wrong(key, "at least one name", names)
    return names
