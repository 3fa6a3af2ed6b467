"""EmbeddingCollection: the look-ups that graph_to_json does not save, from a description by the user (formats 1.7, 3.6).

The description says what the training script said, call by call:

    {"path": "dump/",
     "lookups": [{"table": "user", "bottom": "user_keys", "top": "user_vec", "combiner": "sum"},
                 {"table": ["item", "shop"], "bottom": ["item_keys", "shop_keys"], "top": "items",
                  "combiner": ["concat", "average"]}]}

A call with lists is batch-major: one top [N, sum of widths]. A call without is feature-major: [N, 1, width]. Tables are ids, or
names, which get ids in the order in which they first appear, as in HugeCTR: all of them must then appear.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from hugectr2onnx.errors import GraphJsonError, OptionError
from hugectr2onnx.frontend.embeddings.keys import Keys, check_padding, table_column
from hugectr2onnx.frontend.embeddings.table_options import check_tops, format_of
from hugectr2onnx.frontend.graph_json import json_text
from hugectr2onnx.frontend.graph_json.clauses import DataClause, SparseInput
from hugectr2onnx.frontend.graph_json.fields import Fields
from hugectr2onnx.frontend.suggestion import nearest
from hugectr2onnx.frontend.weights.embedding_dump import open_dump
from hugectr2onnx.frontend.weights.key_filter import few_kept, keep
from hugectr2onnx.frontend.weights.sparse_table import SparseTable
from hugectr2onnx.ir.graph import Graph, Value
from hugectr2onnx.ir.ops.lookup import VECTORS, Embedding
from hugectr2onnx.ir.ops.shape import Concat, Reshape
from hugectr2onnx.ir.types import Array, N, f32
from hugectr2onnx.options import PerTable
from hugectr2onnx.tables.row_format import RowFormat
from hugectr2onnx.tables.vectors import vectors_of

NOTHING_NAMED: Mapping[str, Array] = MappingProxyType({})
COMBINERS = {"sum": "sum", "average": "mean", "mean": "mean", "concat": "concat"}


@dataclass(frozen=True)
class CollectionLookup:
    """One call of `embedding_lookup`; with `batch_major` its parts lie side by side in one 2D top."""

    tables: tuple[int, ...]
    bottoms: tuple[str, ...]
    combiners: tuple[str, ...]
    top: str
    batch_major: bool


@dataclass(frozen=True, eq=False)
class Collection:
    """The look-ups of a model, and its tables by id; `names` are those of the description, ids where it gives none."""

    lookups: tuple[CollectionLookup, ...]
    tables: Mapping[int, SparseTable]
    names: Mapping[int, str]
    warnings: tuple[str, ...] = ()
    """About the keys of the tables that are read."""
    padding_key: int | None = None


def open_collection(
    description: object, keep_keys: Mapping[str, Array] = NOTHING_NAMED, padding_key: int | None = None
) -> Collection:
    """Read a description (a mapping, or the path of a JSON file) and map its dump.

    Tables that `keep_keys` names (`keep_keys.read_all`) come without the rows of all other keys. Raises GraphJsonError for a
    description that is wrong, WeightsError and UnsupportedError for a dump that is.
    """
    plain = _load(description)
    fields = Fields(plain, "embedding_collection")
    names: dict[str, int] = {}
    lookups = tuple(_lookup(entry, names) for entry in fields.children("lookups"))
    tables = open_dump(fields.string("path"))
    _check_names(names, tables)
    for lookup in lookups:
        for table in lookup.tables:
            if table not in tables:
                raise GraphJsonError(
                    f"embedding_collection: the dump has tables {sorted(tables)}, not {table} of {lookup.top!r}"
                )
    named = {id: name for name, id in names.items()}
    named = {table: named.get(table, str(table)) for lookup in lookups for table in lookup.tables}
    kept = {id: keep(tables[id], keep_keys[name]) for id, name in named.items() if name in keep_keys}
    doubts = {id: check_padding(tables[id].keys, padding_key, f"table {named[id]}") for id in named}
    few = {id: few_kept(tables[id], table, keep_keys[named[id]]) for id, table in kept.items()}
    warnings = [doubt for doubt in doubts.values() if doubt]
    warnings += [f"table {named[id]}: {doubt}" for id, doubt in few.items() if doubt]
    return Collection(lookups, {**tables, **kept}, named, tuple(warnings), padding_key)


def _check_names(names: Mapping[str, int], tables: Mapping[int, SparseTable]) -> None:
    """Require all tables to appear: a dump has no names, and the order tells which table is which (formats 2.5)."""
    if names and len(names) != len(tables):
        raise GraphJsonError(
            f"embedding_collection names the tables {', '.join(names)[:200]}, and the dump has {len(tables)}: names stand for "
            f"tables in the order of the training script, so name all of them, or give ids: {', '.join(map(str, tables))}"
        )


def _load(description: object) -> Mapping[str, object]:
    if isinstance(description, str | os.PathLike):
        loaded = json_text.load(description, GraphJsonError)
        if isinstance(loaded, dict) and isinstance(loaded.get("path"), str):
            loaded["path"] = os.path.join(os.path.dirname(os.fspath(description)), loaded["path"])
    else:
        loaded = json_text.plain(description, GraphJsonError, "embedding_collection")
    if not isinstance(loaded, Mapping):
        raise GraphJsonError("embedding_collection must be an object with `path` and `lookups`")
    return loaded


def _lookup(entry: Fields, names: dict[str, int]) -> CollectionLookup:
    batch_major = isinstance(entry.value("bottom"), Sequence) and not isinstance(entry.value("bottom"), str)
    bottoms = entry.strings("bottom")
    tables = _tables(entry, names)
    combiners = entry.strings("combiner")
    if len(combiners) == 1 and batch_major:
        combiners = combiners * len(bottoms)
    if not bottoms or not len(bottoms) == len(tables) == len(combiners):
        raise GraphJsonError(
            f"{entry.where}: {len(tables)} tables, {len(bottoms)} bottoms and {len(combiners)} combiners do not pair up"
        )
    for combiner in combiners:
        if combiner not in COMBINERS:
            raise GraphJsonError(f"{entry.where}.combiner: {combiner!r} is none of sum, average, concat")
    return CollectionLookup(tables, bottoms, tuple(COMBINERS[c] for c in combiners), entry.string("top"), batch_major)


def _tables(entry: Fields, names: dict[str, int]) -> tuple[int, ...]:
    given = entry.value("table")
    several = given if isinstance(given, Sequence) and not isinstance(given, str) else [given]
    if all(isinstance(table, str) for table in several):
        return tuple(names.setdefault(table, len(names)) for table in several)
    return entry.integers("table", minimum=0) if several is given else (entry.integer("table", minimum=0),)


def check_lookups(collection: Collection, data: DataClause) -> None:
    """Raise GraphJsonError unless every bottom is a sparse input of one slot, every top a new name (formats 3.6)."""
    sparse = {entry.top: entry for entry in data.sparse}
    taken = {data.dense_top: "the dense input", **dict.fromkeys(sparse, "a sparse input")}
    taken |= {label.name: "a label" for label in data.labels}
    for lookup in collection.lookups:
        if lookup.top in taken:
            raise GraphJsonError(
                f"embedding_collection: the top {lookup.top!r} is the name of {taken[lookup.top]} too: give the look-up another"
            )
        taken[lookup.top] = "another look-up"
        for bottom in lookup.bottoms:
            if bottom not in sparse:
                hint = nearest(bottom, sparse)
                raise GraphJsonError(f"embedding_collection: {bottom!r} is no sparse input of the Data layer ({hint})")
            if sparse[bottom].slot_num != 1:
                raise GraphJsonError(
                    f"embedding_collection: {bottom!r} has {sparse[bottom].slot_num} slots; a look-up takes one"
                )


def bottoms_of_fixed_width(collection: Collection | None) -> set[str]:
    """Return the bottoms of "concat" look-ups, whose top has a vector for each place of a key: nnz is part of its shape."""
    lookups = collection.lookups if collection else ()
    pairs = (pair for lookup in lookups for pair in zip(lookup.bottoms, lookup.combiners, strict=True))
    return {bottom for bottom, combiner in pairs if combiner == "concat"}


def check_formats(collection: Collection | None, named: Iterable[str], tops: Sequence[str]) -> None:
    """Raise UnsupportedError for a name of `embedding` that is no top of an embedding or a look-up, nor a table."""
    looked_up = [lookup.top for lookup in collection.lookups] if collection else []
    known = [*tops, *looked_up, *(collection.names.values() if collection else ())]
    check_tops("embedding", list(named), known)


def check_kept(collection: Collection | None, named: Iterable[str], tops: Sequence[str]) -> None:
    """Raise OptionError for a name of `keep_keys` that is neither an embedding's top nor a table, or two of these."""
    lookups = collection.lookups if collection else ()
    known = [*tops, *collection.names.values()] if collection else list(tops)
    for name in named:
        if known.count(name) > 1:
            raise OptionError(
                f"keep_keys names {name!r}, which stands for {known.count(name)} tables: rename one", option="keep_keys"
            )
        for lookup in lookups:
            if collection and lookup.top == name and name not in known:
                tables = ", ".join(dict.fromkeys(collection.names[table] for table in lookup.tables))
                raise OptionError(
                    f"keep_keys names {name!r}, a look-up of the EmbeddingCollection, whose tables other look-ups may read "
                    f"too: name the table ({tables})",
                    option="keep_keys",
                )
    check_tops("keep_keys", list(named), known, "embedding's top or table of an EmbeddingCollection")


def declare(
    graph: Graph,
    collection: Collection,
    sparse: Mapping[str, SparseInput],
    keys: Mapping[str, Keys] | None,
    formats: PerTable = "fp32",
    defaults: Mapping[str, float] = MappingProxyType({}),
) -> dict[str, Value]:
    """Return the tops of a collection: look-ups on `keys`, or inputs of the same shapes where there are none."""
    operands: dict[int, tuple[Value, Value]] = {}
    tops: dict[str, Value] = {}
    for lookup in collection.lookups:
        with graph.building(lookup.top):
            if keys is None:
                tops[lookup.top] = _vector_input(graph, lookup, collection, sparse)
                continue
            parts = []
            for table, bottom, combiner in zip(lookup.tables, lookup.bottoms, lookup.combiners, strict=True):
                if table not in operands:
                    opened = collection.tables[table]
                    name = _tensor_name(table, collection.names[table])
                    operands[table] = (
                        graph.const(table_column(opened.keys, collection.padding_key), f"{name}.keys"),
                        graph.const(vectors_of(opened.vectors), f"{name}{VECTORS}"),
                    )
                width = collection.tables[table].vectors.shape[1]
                format = format_of(formats, lookup.top, width, table=collection.names[table])
                default = defaults.get(collection.names[table], 0.0)
                parts.append(_look_up(keys[bottom], *operands[table], combiner, format, default))
            tops[lookup.top] = Concat(1)(*map(_flat, parts)) if lookup.batch_major else parts[0]
    return tops


def _tensor_name(table: int, name: str) -> str:
    return f"table{table}" if name == str(table) else name


def _look_up(keys: Keys, table_keys: Value, vectors: Value, combiner: str, format: RowFormat, default: float) -> Value:
    """[N, 1, nnz] keys -> [N, 1, width]; concat leaves zeros where keys are missing, so they go in the order given."""
    if combiner != "concat":
        return keys.look_up(Embedding(combiner, default, row_format=format), table_keys, vectors)
    batch, _, nnz = keys.value.shape
    # Each place of a key becomes a slot of its own, which adds what the slot added.
    places = replace(keys, value=Reshape((batch, nnz, 1))(keys.value), offsets=keys.offsets * _whole(nnz))
    apart = places.look_up(Embedding("sum", default, row_format=format), table_keys, vectors)
    return Reshape((batch, 1, _whole(nnz) * _whole(vectors.shape[1])))(apart)


def _vector_input(
    graph: Graph, lookup: CollectionLookup, collection: Collection, sparse: Mapping[str, SparseInput]
) -> Value:
    widths = [
        collection.tables[table].vectors.shape[1] * (sparse[bottom].max_nnz if combiner == "concat" else 1)
        for table, bottom, combiner in zip(lookup.tables, lookup.bottoms, lookup.combiners, strict=True)
    ]
    return graph.input(lookup.top, f32(N, sum(widths)) if lookup.batch_major else f32(N, 1, widths[0]))


def _flat(part: Value) -> Value:
    return Reshape((part.shape[0], part.shape[2]))(part)


def _whole(dim: object) -> int:
    assert isinstance(dim, int)
    return dim
