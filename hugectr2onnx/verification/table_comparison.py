"""The result of comparing one table as a whole."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RowDifference:
    """A key whose row differs: where its vector stands in the source and in the file, and by how much they differ.

    `holds` is the key whose vector stands there instead, if it is one of those that differ too.
    """

    key: int
    source_row: int
    file_row: int
    max_error: float
    column: int
    holds: int | None = None


@dataclass(frozen=True)
class TableComparison:
    """One look-up of the source and its table in the file, compared as a whole.

    `keys` were asked for, `rows` of the file were read. `differing` counts keys whose row is another, `unexpected` rows of
    the file that belong to no key of the source and do not hold the default vector, or keys that only the file knows.
    """

    table: str
    tensor: str = ""
    scales: str = ""
    format: str | None = None
    rows: int = 0
    keys: int = 0
    width: int = 0
    bytes: int = 0
    differing: int = 0
    examples: tuple[RowDifference, ...] = ()
    unexpected: int = 0
    unexpected_examples: tuple[str, ...] = ()
    not_compared: str = ""
    """Why the table could not be compared as a whole; nothing where it was."""

    @property
    def passed(self) -> bool:
        return not self.differing and not self.unexpected
