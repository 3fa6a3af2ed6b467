"""The signature and the docstring of a function that takes options as keywords, made from their descriptions."""

from __future__ import annotations

import dataclasses
import inspect
import textwrap
from collections.abc import Callable, Iterator
from typing import Any, TypeVar, get_type_hints

from hugectr2onnx.options import Options, descriptions
from hugectr2onnx.options.description import Group

WIDTH = 116
HEADINGS: dict[Group, str] = {
    "model": "What the files do not say:",
    "tables": "How tables are stored:",
    "lookups": "How keys find their rows:",
    "result": "The result:",
}

_Function = TypeVar("_Function", bound=Callable[..., Any])


def document(function: _Function) -> _Function:
    """List every option in the `__signature__` and the `__doc__` of a function that takes them as `**changes`.

    A parameter of the function with the name of an option keeps its place and gets the option's type and default.
    """
    function.__signature__ = _signature(function)  # type: ignore[attr-defined]
    intro = inspect.cleandoc(function.__doc__ or "")
    function.__doc__ = "\n".join([intro, *_paragraphs()])
    return function


def _signature(function: Callable[..., Any]) -> inspect.Signature:
    types = get_type_hints(Options)
    options = {
        field.name: inspect.Parameter(
            field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=types[field.name]
        )
        for field in dataclasses.fields(Options)
    }
    plain = inspect.signature(function, eval_str=True)
    own = [each for each in plain.parameters.values() if each.kind is not inspect.Parameter.VAR_KEYWORD]
    known = [options.pop(each.name).replace(kind=each.kind) if each.name in options else each for each in own]
    return plain.replace(parameters=[*known, *options.values()])


def _paragraphs() -> Iterator[str]:
    for group, heading in HEADINGS.items():
        yield f"\n{heading}"
        for name, described in descriptions():
            if described.group == group:
                yield textwrap.fill(
                    f"{name}: {described.doc}", WIDTH, initial_indent="    ", subsequent_indent="        "
                )
