"""Rows in Redis, alone or as a cluster, all under one prefix.

    PREFIX:current                the version that readers take
    PREFIX:versions               complete versions, by the time of their end
    PREFIX:plans                  for each version, complete or not, the partitions of its tables: what there is to remove
    PREFIX:writer                 the lock of an export
    PREFIX:VERSION:record         the record of a complete version
    PREFIX:VERSION:TABLE:PART     a hash from keys (int64, little-endian) to rows; table and partition by number

A key belongs to partition `(key * 0x9E3779B97F4A7C15 mod 2^64) >> 40 mod partitions`. The field without a name holds the
number of rows of the partition: where it is missing, rows were lost, and a key that is not found means nothing.
"""

from __future__ import annotations

import json
import struct
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from hugectr2onnx.errors import OptionError, StoreError
from hugectr2onnx.stores.record import TableRecord, VersionRecord, check_version_name
from hugectr2onnx.stores.redis_nodes import Command, RedisNodes
from hugectr2onnx.stores.row_cache import Row
from hugectr2onnx.stores.store import VersionGoneError, check_removal, check_switch, no_version
from hugectr2onnx.stores.table_rows import TableRows
from hugectr2onnx.tables.array import Array

MIN_PARTITIONS, MAX_PARTITIONS, ROWS_A_PARTITION = 32, 4096, 1 << 20
_MARK = b""
LOCK_SECONDS = 120
REMOVED_AT_ONCE = 512
_COUNT = struct.Struct("<Q")


class RedisStore:
    """`store.RowStore` in Redis."""

    def __init__(self, nodes: RedisNodes, prefix: str) -> None:
        if not prefix or any(character in prefix for character in "{}: \n"):
            raise OptionError(f"the prefix {prefix!r} is empty or has braces, colons or spaces", option="prefix")
        self._nodes = nodes
        self._prefix = prefix

    def current(self) -> str | None:
        found = self._nodes.one("GET", f"{self._prefix}:current")
        return None if found is None else str(found.decode(errors="replace"))

    def versions(self) -> list[str]:
        found = self._nodes.one("ZRANGE", f"{self._prefix}:versions", 0, -1)
        return [each.decode(errors="replace") for each in found]

    def reader(self, version: str) -> RedisReader:
        text = self._nodes.one("GET", self._record_key(version))
        if text is None:
            raise no_version(self, version)
        record = VersionRecord.from_json(text, f"Redis, {self._record_key(version)}")
        if record.version != version:
            raise StoreError(f"Redis, {self._record_key(version)}: it is the record of version {record.version}")
        return RedisReader(self._nodes, f"{self._prefix}:{version}", record)

    @contextmanager
    def writing(self, version: str, place: Path) -> Iterator[RedisWriter]:
        check_version_name(version)
        token = self._lock()
        writer = RedisWriter(self._nodes, self._prefix, version, token)
        try:
            if version in self.versions():
                raise StoreError(f"version {version} is there already under {self._prefix}: give another name")
            self._remove_unfinished()
            yield writer
        except BaseException:
            with suppress(StoreError):
                self._remove_rows(version) if version not in self.versions() else None
            raise
        finally:
            with suppress(StoreError):
                self._unlock(token)

    def switch(self, version: str) -> None:
        check_switch(self, version)
        self._nodes.one("SET", f"{self._prefix}:current", version)

    def remove(self, version: str) -> None:
        check_removal(self, version)
        self._nodes.one("ZREM", f"{self._prefix}:versions", version)
        self._nodes.one("DEL", self._record_key(version))
        self._remove_rows(version)

    def close(self) -> None:
        self._nodes.close()

    def _record_key(self, version: str) -> str:
        return f"{self._prefix}:{version}:record"

    def _lock(self) -> str:
        token = uuid.uuid4().hex
        if not self._nodes.one("SET", f"{self._prefix}:writer", token, "NX", "EX", LOCK_SECONDS):
            left = max(0, self._nodes.one("TTL", f"{self._prefix}:writer"))
            raise StoreError(
                f"another export writes under {self._prefix}: wait until it ends; if it was killed, its lock ends in {left} "
                "seconds, or with `hugectr2onnx export versions FOLDER --break-lock`"
            )
        return token

    def break_lock(self) -> bool:
        return bool(self._nodes.one("DEL", f"{self._prefix}:writer"))

    def _unlock(self, token: str) -> None:
        held = self._nodes.one("GET", f"{self._prefix}:writer")
        if held == token.encode():
            self._nodes.one("DEL", f"{self._prefix}:writer")

    def _remove_unfinished(self) -> None:
        """Whoever holds the lock is the only one at work, so what is planned and not complete was left by a crash."""
        planned = self._nodes.one("HKEYS", f"{self._prefix}:plans")
        complete = self.versions()
        for version in (each.decode(errors="replace") for each in planned):
            if version not in complete:
                self._remove_rows(version)

    def _remove_rows(self, version: str) -> None:
        plan = self._nodes.one("HGET", f"{self._prefix}:plans", version)
        if plan is None:
            return
        names = [
            _partition_name(f"{self._prefix}:{version}", table, part)
            for table, parts in enumerate(json.loads(plan))
            for part in range(parts)
        ]
        for start in range(0, len(names), REMOVED_AT_ONCE):
            self._nodes.run([("UNLINK", name) for name in names[start : start + REMOVED_AT_ONCE]])
        self._nodes.one("HDEL", f"{self._prefix}:plans", version)


class RedisWriter:
    def __init__(self, nodes: RedisNodes, prefix: str, version: str, token: str) -> None:
        self._nodes = nodes
        self._prefix = prefix
        self._name = f"{prefix}:{version}"
        self._version = version
        self._token = token
        self._counts: list[Array] = []
        self._held_until = time.monotonic() + LOCK_SECONDS / 2

    def write(self, table: TableRows) -> None:
        number, parts = len(self._counts), partitions_of(table.record.rows)
        counts = np.zeros(parts, np.int64)
        self._counts.append(counts)
        self._plan(number, parts)
        for keys, stored in table.chunks():
            self._hold()
            own = partition_of(keys, parts)
            counts += np.bincount(own, minlength=parts)
            self._nodes.run(_set_commands(self._name, number, own, keys, stored))
        marks = [
            ("HSET", _partition_name(self._name, number, part), _MARK, _COUNT.pack(int(count)))
            for part, count in enumerate(counts)
        ]
        self._nodes.run(marks)

    def facts(self) -> Mapping[str, Any]:
        return {"kind": "redis", "partitions": [len(counts) for counts in self._counts]}

    def finish(self, record: VersionRecord) -> None:
        self._check()
        self._nodes.one("SET", f"{self._name}:record", record.to_json())
        self._nodes.one("ZADD", f"{self._prefix}:versions", time.time(), self._version)

    def _plan(self, number: int, parts: int) -> None:
        names = [_partition_name(self._name, number, part) for part in range(parts)]
        taken = [
            name for name, there in zip(names, self._nodes.run([("EXISTS", n) for n in names]), strict=True) if there
        ]
        if taken:
            raise StoreError(f"Redis has the key {taken[0]} already, and not from us: give another prefix or version")
        plan = json.dumps([len(counts) for counts in self._counts])
        self._nodes.one("HSET", f"{self._prefix}:plans", self._version, plan)

    def _hold(self) -> None:
        """Keep the lock while rows are written. Raises StoreError where it was lost."""
        self._require_lock()
        if time.monotonic() < self._held_until:
            return
        self._nodes.one("EXPIRE", f"{self._prefix}:writer", LOCK_SECONDS)
        self._held_until = time.monotonic() + LOCK_SECONDS / 2

    def _require_lock(self) -> None:
        if self._nodes.one("GET", f"{self._prefix}:writer") != self._token.encode():
            raise StoreError(
                f"another export took over the prefix {self._prefix} while version {self._version} was written"
            )

    def _check(self) -> None:
        """Check that every partition has the rows that were written to it."""
        self._require_lock()
        for number, counts in enumerate(self._counts):
            names = [_partition_name(self._name, number, part) for part in range(len(counts))]
            for part, (found, count) in enumerate(
                zip(self._nodes.run([("HLEN", n) for n in names]), counts, strict=True)
            ):
                if found != count + 1:
                    raise StoreError(
                        f"partition {part} of table {number} has {found - 1} rows, and {count} were written: Redis lost or "
                        "evicted some (see its maxmemory and maxmemory-policy)"
                    )


class RedisReader:
    """One version. The first look-up in a partition compares the number of its rows with that of the export."""

    def __init__(self, nodes: RedisNodes, name: str, record: VersionRecord) -> None:
        self.record = record
        self._nodes = nodes
        self._name = name
        parts = record.store.get("partitions")
        is_known = isinstance(parts, list) and all(
            isinstance(each, int) and 0 < each <= MAX_PARTITIONS for each in parts
        )
        if not is_known or len(parts) != len(record.tables):  # type: ignore[arg-type]
            raise StoreError(f"Redis, {name}:record: it does not say in how many partitions each table lies")
        pairs = enumerate(zip(record.tables, parts, strict=True))  # type: ignore[arg-type]
        self._places = {table.name: (number, count) for number, (table, count) in pairs}
        self._counted: set[tuple[int, int]] = set()

    def fetch(self, table: TableRecord, keys: Array) -> Sequence[Row]:
        number, parts = self._places[table.name]
        owner = partition_of(keys, parts)
        order = np.argsort(owner, kind="stable")
        touched, starts = np.unique(owner[order], return_index=True)
        fields, bounds = _fields(keys[order]), [*starts.tolist(), len(keys)]
        names = [_partition_name(self._name, number, part) for part in touched.tolist()]
        gets: list[Command] = [
            ("HMGET", name, _MARK, *fields[first:end])
            for name, first, end in zip(names, bounds[:-1], bounds[1:], strict=True)
        ]
        new = [place for place, part in enumerate(touched.tolist()) if (number, part) not in self._counted]
        answers = self._nodes.run([*gets, *(("HLEN", names[place]) for place in new)])
        for place, part in enumerate(touched.tolist()):
            if answers[place][0] is None:
                raise self._lost(table, part)
        for place, length in zip(new, answers[len(gets) :], strict=True):
            self._check_count(table, int(touched[place]), answers[place][0], length)
            self._counted.add((number, int(touched[place])))
        rows = [row for answer in answers[: len(gets)] for row in answer[1:]]
        found: list[Row] = [None] * len(keys)
        for place, row in zip(order.tolist(), rows, strict=True):
            found[place] = row
        return found

    def close(self) -> None:
        """Leave the nodes open: they belong to the store."""

    def _check_count(self, table: TableRecord, part: int, mark: bytes, length: int) -> None:
        written = _COUNT.unpack(mark)[0] if len(mark) == _COUNT.size else -1
        if length != written + 1:
            raise StoreError(
                f"partition {part} of table {table.name} in version {self.record.version} holds {length - 1} rows, and "
                f"{written} were written: rows were lost; export the version again"
            )

    def _lost(self, table: TableRecord, part: int) -> StoreError:
        if not self._nodes.one("EXISTS", f"{self._name}:record"):
            return VersionGoneError(f"version {self.record.version} was removed from Redis while it was read")
        return StoreError(
            f"partition {part} of table {table.name} in version {self.record.version} is not in Redis any more: its rows were "
            "evicted or lost (see maxmemory-policy and persistence); export the version again"
        )


def partitions_of(rows: int) -> int:
    """In how many hashes the rows of a table lie."""
    parts = MIN_PARTITIONS
    while parts * ROWS_A_PARTITION < rows and parts < MAX_PARTITIONS:
        parts *= 2
    return parts


def partition_of(keys: Array, parts: int) -> Array:
    """Return the partition of each key, int64 [n]."""
    mixed = keys.astype(np.int64).view(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    return ((mixed >> np.uint64(40)) % np.uint64(parts)).astype(np.int64)


def _set_commands(name: str, table: int, owner: Array, keys: Array, stored: Array) -> list[Command]:
    order = np.argsort(owner, kind="stable")
    touched, starts = np.unique(owner[order], return_index=True)
    fields, rows = _fields(keys[order]), _pieces(stored[order])
    bounds = [*starts.tolist(), len(keys)]
    commands: list[Command] = []
    for part, first, end in zip(touched.tolist(), bounds[:-1], bounds[1:], strict=True):
        pairs = (each for pair in zip(fields[first:end], rows[first:end], strict=True) for each in pair)
        commands.append(("HSET", _partition_name(name, table, part), *pairs))
    return commands


def _partition_name(name: str, table: int, part: int) -> str:
    return f"{name}:{table}:{part}"


def _fields(keys: Array) -> list[bytes]:
    return _pieces(keys.astype("<i8").view(np.uint8).reshape(-1, 8))


def _pieces(rows: Array) -> list[bytes]:
    """Return the bytes of each row."""
    data, size = np.ascontiguousarray(rows).tobytes(), rows.shape[1]
    return [data[start : start + size] for start in range(0, len(data), size)]
