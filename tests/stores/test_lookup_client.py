"""`LookupClient` and its cache: what is unknown, what is lost, and a store that does not answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hugectr2onnx.errors import FeedError, OptionError, StoreError, StoreUnavailableError
from hugectr2onnx.stores.export import export_split
from hugectr2onnx.stores.lookup_client import LookupClient, Patience
from hugectr2onnx.stores.record import TableRecord, VersionRecord
from hugectr2onnx.stores.row_cache import ENTRY_BYTES, Row, RowCache
from hugectr2onnx.stores.split_folder import open_store
from hugectr2onnx.stores.store import VersionGoneError

from .models import Model

RECORD = VersionRecord("1", "", (), (), (TableRecord("t", 3, 2, default=0.5),))
ROWS = {7: [1.0, 2.0], 9: [3.0, 4.0], 1 << 40: [5.0, 6.0]}
QUICK = Patience(attempts=3, first_pause=0.001)


@dataclass
class Shelf:
    """A store in memory that fails as often as it is told."""

    failures: int = 0
    gone: int = 0
    asked: list[list[int]] = field(default_factory=list)
    record: VersionRecord = RECORD

    def current(self) -> str:
        return self.record.version

    def reader(self, version: str) -> Shelf:
        return self

    def fetch(self, table: TableRecord, keys: np.ndarray) -> Sequence[Row]:
        self.asked.append(keys.tolist())
        if self.failures:
            self.failures -= 1
            raise StoreUnavailableError("the node 127.0.0.1:7001 does not answer")
        if self.gone:
            self.gone -= 1
            raise VersionGoneError("version 1 was removed")
        return [np.array(ROWS[key], "<f4").tobytes() if key in ROWS else None for key in keys.tolist()]

    def close(self) -> None: ...


def client_of(shelf: Shelf, **more: object) -> LookupClient:
    return LookupClient(shelf, **{"patience": QUICK, **more})  # type: ignore[arg-type]


def test_known_and_unknown_keys_are_told_apart() -> None:
    client = client_of(Shelf())
    rows, known = client.lookup_known("t", [[7, 8], [1 << 40, 7]])
    np.testing.assert_array_equal(rows, [[[1, 2], [0.5, 0.5]], [[5, 6], [1, 2]]])
    np.testing.assert_array_equal(known, [[True, False], [True, True]])
    assert (client.counts.keys, client.counts.unknown) == (3, 1)


def test_each_different_key_is_asked_for_once_and_then_cached() -> None:
    shelf = Shelf()
    client = client_of(shelf)
    client.lookup("t", [9, 7, 9, 8])
    client.lookup("t", [8, 9, 1 << 40])
    assert shelf.asked == [[7, 8, 9], [1 << 40]]
    assert client.counts.cached == 2


def test_without_a_cache_every_request_asks() -> None:
    shelf = Shelf()
    client = client_of(shelf, cache_bytes=0)
    client.lookup("t", [7])
    client.lookup("t", [7])
    assert shelf.asked == [[7], [7]]


def test_a_store_that_comes_back_in_time_is_waited_for() -> None:
    shelf = Shelf(failures=2)
    np.testing.assert_array_equal(client_of(shelf).lookup("t", [9]), [[3, 4]])
    assert len(shelf.asked) == 3


def test_a_store_that_stays_away_raises_and_gives_no_zeros() -> None:
    with pytest.raises(StoreUnavailableError, match="does not answer") as caught:
        client_of(Shelf(failures=99)).lookup("t", [9])
    assert "after 3 attempts" in caught.value.describe()


def test_what_is_cached_is_served_while_the_store_is_away() -> None:
    shelf = Shelf()
    client = client_of(shelf)
    client.lookup("t", [7, 9])
    shelf.failures = 99
    np.testing.assert_array_equal(client.lookup("t", [9]), [[3, 4]])
    with pytest.raises(StoreUnavailableError):
        client.lookup("t", [9, 11])


def test_a_version_that_is_removed_is_left_for_the_current_one() -> None:
    shelf = Shelf(gone=1)
    np.testing.assert_array_equal(client_of(shelf).lookup("t", [9]), [[3, 4]])
    with pytest.raises(VersionGoneError):
        client_of(Shelf(gone=99)).lookup("t", [9])
    with pytest.raises(VersionGoneError):
        client_of(Shelf(gone=1), version="1").lookup("t", [9])


def test_a_pointer_that_cannot_be_read_keeps_the_version(caplog: pytest.LogCaptureFixture) -> None:
    class Silent(Shelf):
        silent = False

        def current(self) -> str:
            if self.silent:
                raise StoreUnavailableError("the node of the pointer does not answer")
            return "1"

    shelf = Silent()
    client = client_of(shelf)
    client.lookup("t", [7])
    shelf.silent = True
    np.testing.assert_array_equal(client.lookup("t", [9]), [[3, 4]])
    assert "version 1 is kept" in caplog.text
    fresh = Silent()
    fresh.silent = True
    with pytest.raises(StoreUnavailableError, match="pointer"):
        client_of(fresh).lookup("t", [7])


def test_a_row_of_another_length_is_refused() -> None:
    shelf = Shelf(record=replace(RECORD, tables=(TableRecord("t", 3, 5),)))
    with pytest.raises(
        StoreError, match="the row of key 7 in table t has 8 bytes, and those that were written have 20"
    ):
        client_of(shelf).lookup("t", [7])


@pytest.mark.parametrize(("keys", "message"), [
    (np.array([7, 2**64 - 1], np.uint64), "the key 18446744073709551615 is beyond int64"),
    ([2**63], "the key 9223372036854775808 is beyond int64"),
    ([[7], [8, 9]], "the keys are not an array"),
    ([7.5], "keys are float64; give integers"),
])  # fmt: skip
def test_keys_that_are_no_keys(keys: object, message: str) -> None:
    with pytest.raises(FeedError, match=message):
        client_of(Shelf()).lookup("t", keys)


@pytest.mark.parametrize(("edit", "message"), [
    (lambda f: f.update(one=np.full((4, 2, 1), 2**64 - 1, np.uint64)), "input one holds keys beyond int64"),
    (lambda f: f.update(one=f["one"] + 0.5), "input one is float64"),
    (lambda f: f.update(many=f["many"][:, :1]), "input many is int64"),
    (lambda f: f.update(one=f["one"][:2]), "input one has 2; give all inputs of one call the same number"),
    (lambda f: f.update(extra=f["one"]), "the feed has the unknown extra"),
    (lambda f: f.pop("one"), "the feed lacks one"),
])  # fmt: skip
def test_feeds_that_do_not_fit_are_refused_as_by_the_scorer(
    edit: Callable[[Any], None], message: str, model: Model, tmp_path: Path
) -> None:
    pytest.importorskip("pyarrow")
    export_split(model.graph, model.weights, tmp_path, options=model.options)
    feeds = model.feeds(4)
    edit(feeds)
    with LookupClient(open_store(tmp_path)) as client, pytest.raises(FeedError, match=message):
        client.dense_feeds(feeds)


def test_a_closed_client_says_so() -> None:
    with client_of(Shelf()) as client:
        client.lookup("t", [7])
    with pytest.raises(StoreError, match="the client is closed"):
        client.lookup("t", [7])


def test_arguments_that_mean_nothing() -> None:
    with pytest.raises(OptionError, match="cache_bytes is -1"):
        client_of(Shelf(), cache_bytes=-1)
    with pytest.raises(OptionError, match="attempts is 0"):
        Patience(attempts=0)
    with pytest.raises(FeedError, match="keys are float64; give integers"):
        client_of(Shelf()).lookup("t", [1.5])
    with pytest.raises(StoreError, match="no table 'x': its tables are t"):
        client_of(Shelf()).lookup("x", [1])


def test_the_cache_keeps_the_rows_that_were_used_last() -> None:
    cache = RowCache(2 * (ENTRY_BYTES + 8))
    cache.put("t", [1, 2], [b"12345678", b"abcdefgh"])
    found: list[Row] = [None]
    assert cache.take("t", [1], found) == []
    cache.put("t", [3], [b"ABCDEFGH"])
    rows: list[Row] = [None] * 3
    assert cache.take("t", [1, 2, 3], rows) == [1]
    assert (rows, len(cache)) == ([b"12345678", None, b"ABCDEFGH"], 2)


def test_the_cache_holds_no_more_than_its_bytes() -> None:
    cache = RowCache(10_000)
    for start in range(0, 1000, 50):
        cache.put("t", list(range(start, start + 50)), [bytes(64)] * 50)
        assert cache.bytes <= 10_000
    assert len(cache) == 10_000 // (ENTRY_BYTES + 64)
    cache.put("t", [5], [bytes(20_000)])
    assert (len(cache), cache.bytes) == (0, 0)


def test_vectors_of_a_real_store_are_those_of_the_file(kind: str, model: Model, tmp_path: Path) -> None:
    export_split(model.graph, model.weights, tmp_path, store=kind, options=model.options)
    table = Path(model.weights.tables[0])
    keys, vectors = np.fromfile(table / "key", "<i8"), np.fromfile(table / "emb_vector", "<f4").reshape(-1, 8)
    with LookupClient(open_store(tmp_path)) as client:
        np.testing.assert_array_equal(client.lookup("averaged", keys), vectors)
        assert not client.lookup_known("averaged", [1 << 50, -3, np.iinfo(np.int64).max])[1].any()
