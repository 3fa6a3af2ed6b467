"""Describe an option as data: its documentation, its flag, its check, and whether a model records it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Group = Literal["model", "tables", "lookups", "result"]
"""The verbs of the command line choose their flags by group."""
Check = Callable[[Any, str], Any]
"""(value, name of the option) -> the value in its normal form. Raises OptionError."""
_KEY = "hugectr2onnx.option"


@dataclass(frozen=True)
class Flag:
    """The flag by which the command line takes an option.

    `parse` turns the text of one use into a value and raises OptionError. With `collect` a flag may be repeated, and
    `collect` makes one value of those of all uses. A flag with a `constant` takes no text: it sets that value.
    """

    name: str
    metavar: str | None = None
    help: str | None = None
    """Replaces the option's documentation in `--help`."""
    short: str | None = None
    parse: Callable[[str], Any] = str
    collect: Callable[[Sequence[Any]], Any] | None = None
    constant: object = None

    @property
    def usage(self) -> str:
        return f"{self.name} {self.metavar}" if self.metavar else self.name


@dataclass(frozen=True)
class Description:
    """Everything about an option but its name, type and default.

    `names_files`: the value names files, and a model records what was read from them (a digest) in place of their names.
    """

    doc: str
    check: Check
    group: Group
    flag: Flag | None = None
    is_recorded: bool = True
    names_files: bool = False
    is_recorded_by_default: bool = False
    """Whether a model records the default too: options of the first release do."""


def option(
    default: object,
    check: Check,
    group: Group,
    doc: str,
    flag: Flag | None = None,
    *,
    is_recorded: bool = True,
    names_files: bool = False,
    is_recorded_by_default: bool = False,
) -> Any:
    """Declare a field of `Options`."""
    described = Description(doc, check, group, flag, is_recorded, names_files, is_recorded_by_default)
    return dataclasses.field(default=default, metadata={_KEY: described})


def describe(field: dataclasses.Field[Any]) -> Description:
    """Return the description of a field of `Options`."""
    described = field.metadata[_KEY]
    assert isinstance(described, Description)
    return described
