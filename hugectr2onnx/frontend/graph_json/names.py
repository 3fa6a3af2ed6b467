"""Tensor names: what a layer's `bottom` and `top` may hold."""

from __future__ import annotations

from hugectr2onnx.frontend.graph_json.fields import Fields

LONGEST_NAME = 1000


def name_fault(name: str) -> str | None:
    """Tell what is expected instead of a name that no tensor can have: one that is empty, endless or not printable."""
    if not name:
        return "the name of a tensor"
    if len(name) > LONGEST_NAME:
        return f"a name of at most {LONGEST_NAME} characters"
    if any(character < " " or character == "\x7f" or "\ud800" <= character <= "\udfff" for character in name):
        return "a name without control characters"
    return None


def checked_name(fields: Fields, key: str, name: str) -> str:
    """Return the name itself; raises GraphJsonError where no tensor can have it."""
    if fault := name_fault(name):
        raise fields.wrong(key, fault, name if name.isprintable() else ascii(name))
    return name


def only_name(fields: Fields, key: str) -> str:
    """Return one name, plain or as a list of one: readers take both everywhere (formats 1.2)."""
    names = checked_names(fields, key)
    if len(names) != 1:
        raise fields.wrong(key, "one name", names)
    return names[0]


def checked_names(fields: Fields, key: str) -> tuple[str, ...]:
    """Return one name or a list of names, at least one."""
    names = tuple(checked_name(fields, key, name) for name in fields.strings(key))
    if not names:
        raise fields.wrong(key, "at least one name", names)
    return names
