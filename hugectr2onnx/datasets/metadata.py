"""`_metadata.json` beside Parquet files: which columns are labels, dense values and keys, by their index (formats 4.2)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from hugectr2onnx.datasets.columns import Columns
from hugectr2onnx.errors import FeedError
from hugectr2onnx.frontend.graph_json import json_text
from hugectr2onnx.frontend.graph_json.fields import INT64_MAX, Fields

METADATA_NAME = "_metadata.json"


@dataclass(frozen=True)
class Metadata:
    """`rows` by file name without its folder; column indexes in the order of the list, as (name, index)."""

    path: Path
    rows: Mapping[str, int]
    labels: tuple[tuple[str, int], ...]
    dense: tuple[tuple[str, int], ...]
    keys: tuple[tuple[str, int], ...]

    def columns(self, schema: Sequence[str]) -> Columns:
        """Return the columns of a file whose Parquet schema has these names.

        HugeCTR goes by the index, not by the name, and sorts each group by it. Raises FeedError for an index that the
        file does not have.
        """
        warnings = [text for group in (self.labels, self.dense, self.keys) for text in self._doubts(group, schema)]
        labels, dense, keys = (self._names(group, schema) for group in (self.labels, self.dense, self.keys))
        return Columns(labels, dense, keys, warnings=tuple(warnings))

    def _names(self, group: Sequence[tuple[str, int]], schema: Sequence[str]) -> tuple[str, ...]:
        indexes = sorted(index for _, index in group)
        beyond = [index for index in indexes if index >= len(schema)]
        if beyond:
            raise FeedError(f"{self.path}: names the column {beyond[0]}, and the files have {len(schema)} columns")
        return tuple(schema[index] for index in indexes)

    def _doubts(self, group: Sequence[tuple[str, int]], schema: Sequence[str]) -> list[str]:
        indexes = [index for _, index in group]
        doubts = []
        if indexes != sorted(indexes):
            listed = ", ".join(name for name, _ in group[:4])
            doubts.append(
                f"{self.path}: lists {listed}, ... in another order than that of the columns; the order of the columns "
                "counts, as in HugeCTR since v3.4"
            )
        wrong = next(((n, i) for n, i in group if i < len(schema) and schema[i] != n), None)
        if wrong:
            doubts.append(
                f"{self.path}: calls column {wrong[1]} {wrong[0]!r}, the files {schema[wrong[1]]!r}; the index counts"
            )
        return doubts


def read_metadata(folder: Path) -> Metadata | None:
    """Return the `_metadata.json` of a folder, None where there is none. Raises FeedError for one that cannot be read."""
    path = folder / METADATA_NAME
    if not path.exists():
        return None
    fields = Fields(json_text.load(path, FeedError), str(path), FeedError)
    labels, dense, keys = (_columns(fields, group) for group in ("labels", "conts", "cats"))
    return Metadata(path, _rows(fields), labels, dense, keys)


def _rows(fields: Fields) -> dict[str, int]:
    stats = fields.children("file_stats") if fields.has("file_stats") else ()
    return {
        PurePath(each.string("file_name")).name: each.integer("num_rows", minimum=0, maximum=INT64_MAX)
        for each in stats
    }


def _columns(fields: Fields, group: str) -> tuple[tuple[str, int], ...]:
    entries = fields.children(group) if fields.has(group) else ()
    found = tuple((each.string("col_name"), each.integer("index", minimum=0)) for each in entries)
    twice = [index for index, count in Counter(index for _, index in found).items() if count > 1]
    if twice:
        raise FeedError(f"{fields.path(group)}: names the column {twice[0]} twice")
    return found
