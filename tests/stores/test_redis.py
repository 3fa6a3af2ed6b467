"""The Redis store against real servers: a cluster of three nodes, one of which is killed."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from hugectr2onnx.cli import main
from hugectr2onnx.errors import OptionError, StoreError, StoreUnavailableError
from hugectr2onnx.stores.export import export_split, remove_version
from hugectr2onnx.stores.lookup_client import LookupClient, Patience
from hugectr2onnx.stores.redis_nodes import Address, RedisNodes
from hugectr2onnx.stores.redis_store import RedisStore, partition_of
from hugectr2onnx.stores.split_folder import open_store
from hugectr2onnx.stores.split_scorer import SplitScorer
from hugectr2onnx.stores.version_folder import VersionFolder

from .models import Model, same_bits, write_model
from .redis_servers import Cluster, Node, cluster, redis_server, single_server, wait_for

engines = pytest.mark.engines
TABLE_ROWS = 90
IMPATIENT = Patience(attempts=2, first_pause=0.01)


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    pytest.importorskip("redis")
    if redis_server() is None:
        pytest.skip("there is no redis-server on this machine")
    with cluster(tmp_path_factory.mktemp("redis")) as servers:
        yield servers


@pytest.fixture
def servers(three: Cluster) -> Cluster:
    """The cluster, empty."""
    for node in three.nodes:
        node.client.flushall()
    return three


def export(model: Model, folder: Path, servers: Cluster | Node, **more: object) -> str:
    addresses = servers.addresses if isinstance(servers, Cluster) else [servers.address]
    done = export_split(
        model.graph, model.weights, folder, store="redis", addresses=addresses, options=model.options, **more  # type: ignore[arg-type]
    )  # fmt: skip
    return done.version


def keys_of(model: Model) -> np.ndarray:
    return np.fromfile(Path(model.weights.tables[0]) / "key", "<i8")


@engines
def test_a_cluster_gives_the_bits_of_the_one_file_model(model: Model, servers: Cluster, tmp_path: Path) -> None:
    export(model, tmp_path, servers)
    whole = model.compile()
    assert all(node.client.dbsize() > 10 for node in servers.nodes), "the rows are divided among the nodes"
    with SplitScorer(tmp_path) as scorer:
        for batch in (1, 7, 64):
            feeds = model.feeds(batch, seed=batch)
            assert same_bits(scorer(feeds), whole.run(feeds))


@engines
@pytest.mark.parametrize("changes", [
    {"embedding": "int8", "default_embedding": 0.3, "opt_level": 3},
    {"padding_key": 7, "embedding": "fp16"},
], ids=["int8", "fp16"])  # fmt: skip
def test_row_formats_in_a_cluster(changes: dict[str, object], model: Model, servers: Cluster, tmp_path: Path) -> None:
    changed = Model(model.graph, model.weights, model.options.changed(**changes))
    export(changed, tmp_path, servers)
    feeds = changed.feeds(64)
    with SplitScorer(tmp_path) as scorer:
        assert same_bits(scorer(feeds), changed.compile().run(feeds))


@engines
def test_a_server_without_a_cluster(three: Cluster, model: Model, tmp_path: Path) -> None:
    with single_server(tmp_path) as node:
        export(model, tmp_path / "s", node)
        feeds = model.feeds(16)
        with SplitScorer(tmp_path / "s") as scorer:
            assert same_bits(scorer(feeds), model.compile().run(feeds))


@engines
def test_a_node_that_is_killed_takes_only_its_rows_with_it(three: Cluster, model: Model, tmp_path: Path) -> None:
    with cluster(tmp_path) as servers:
        export(model, tmp_path / "s", servers)
        keys = keys_of(model)
        parts = partition_of(keys, 32)
        owners = [servers.owner_of(f"split:1:0:{part}") for part in parts.tolist()]
        # The node of the pointer stays: what happens without it is tested with a store in memory.
        pointer = servers.owner_of("split:current")
        dead = next(node for node in servers.nodes if node is not pointer and node in owners)
        lost = np.array([owner is dead for owner in owners])
        with LookupClient(open_store(tmp_path / "s", timeout=0.5), cache_bytes=0, patience=IMPATIENT) as client:
            before = client.lookup("averaged", keys)
            dead.kill()
            np.testing.assert_array_equal(client.lookup("averaged", keys[~lost]), before[~lost])
            with pytest.raises(StoreUnavailableError, match=f"the Redis node {dead.address} does not answer") as caught:
                client.lookup("averaged", keys)
            assert "commands of this request are for it" in caught.value.describe()
            np.testing.assert_array_equal(client.lookup("averaged", keys[~lost]), before[~lost])
            dead.start()
            wait_for(lambda: np.array_equal(client.lookup("averaged", keys), before))


@engines
def test_a_replica_takes_over(three: Cluster, model: Model, tmp_path: Path) -> None:
    with cluster(tmp_path, replicas=3) as servers:
        export(model, tmp_path / "s", servers)
        keys = keys_of(model)
        dead = servers.owner_of(f"split:1:0:{partition_of(keys[:1], 32)[0]}")
        patient = Patience(attempts=60, first_pause=0.1, max_pause=0.25)
        with LookupClient(open_store(tmp_path / "s", timeout=0.5), cache_bytes=0, patience=patient) as client:
            before = client.lookup("averaged", keys)
            wait_for(lambda: all(_is_copied(node) for node in servers.nodes))
            dead.kill()
            np.testing.assert_array_equal(client.lookup("averaged", keys), before)


def _is_copied(node: Node) -> bool:
    known = node.client.info("replication")
    return known["role"] != "master" or known["slave0"]["offset"] == known["master_repl_offset"]


@engines
def test_no_node_at_all_raises(model: Model, tmp_path: Path) -> None:
    pytest.importorskip("redis")
    store = RedisStore(RedisNodes([Address("127.0.0.1", 1)], timeout=0.2), "split")
    started = time.monotonic()
    with pytest.raises(StoreUnavailableError, match=r"the Redis node 127\.0\.0\.1:1 does not answer"):
        LookupClient(store, patience=IMPATIENT).lookup("averaged", [1])
    assert time.monotonic() - started < 5


@engines
def test_readers_see_whole_versions_while_versions_change(model: Model, servers: Cluster, tmp_path: Path) -> None:
    later = write_model(tmp_path / "later", seed=1)
    feeds = model.feeds(16)
    answers = {each.compile().run(feeds)["label"].tobytes() for each in (model, later)}
    export(model, tmp_path / "s", servers)
    found: set[bytes] = set()
    errors: list[Exception] = []
    stop = threading.Event()

    def read() -> None:
        with SplitScorer(tmp_path / "s") as scorer:
            try:
                while not stop.is_set():
                    found.add(scorer(feeds)["label"].tobytes())
            except Exception as error:
                errors.append(error)

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    for number in range(4):
        export((later, model)[number % 2], tmp_path / "s", servers, keep_versions=1)
        time.sleep(0.1)
    stop.set()
    for thread in threads:
        thread.join()
    assert errors == []
    assert found == answers


@engines
def test_a_version_is_removed_with_all_its_keys_and_no_other(model: Model, servers: Cluster, tmp_path: Path) -> None:
    import redis

    redis.RedisCluster("127.0.0.1", servers.nodes[0].port).set("split:mine", "stays")
    export(model, tmp_path, servers)
    before = servers.keys()
    export(model, tmp_path, servers)
    store = open_store(tmp_path)
    store.switch("1")
    remove_version(store, VersionFolder(tmp_path), "2")
    assert servers.keys() == before
    assert "split:mine" in before
    with pytest.raises(StoreError, match="version 1 is the one that readers take"):
        store.remove("1")


@engines
def test_rows_that_redis_lost_are_no_unknown_keys(model: Model, servers: Cluster, tmp_path: Path) -> None:
    export(model, tmp_path, servers)
    keys = keys_of(model)
    name = f"split:1:0:{partition_of(keys[:1], 32)[0]}"
    owner = servers.owner_of(name).client
    with LookupClient(open_store(tmp_path), cache_bytes=0) as client:
        assert client.lookup_known("averaged", keys)[1].all()
        owner.delete(name)
        with pytest.raises(StoreError, match="its rows were evicted or lost"):
            client.lookup("averaged", keys[:1])


@engines
def test_a_row_that_redis_lost_is_no_unknown_key(model: Model, servers: Cluster, tmp_path: Path) -> None:
    export(model, tmp_path, servers)
    keys = keys_of(model)
    name = f"split:1:0:{partition_of(keys[:1], 32)[0]}"
    servers.owner_of(name).client.hdel(name, keys[:1].tobytes())
    with LookupClient(open_store(tmp_path)) as client, pytest.raises(StoreError, match=r"rows, and .* were written"):
        client.lookup("averaged", keys[:1])


@engines
def test_a_row_of_another_width(model: Model, servers: Cluster, tmp_path: Path) -> None:
    export(model, tmp_path, servers)
    keys = keys_of(model)
    name = f"split:1:0:{partition_of(keys[:1], 32)[0]}"
    servers.owner_of(name).client.hset(name, keys[:1].tobytes(), b"short")
    with LookupClient(open_store(tmp_path)) as client, pytest.raises(StoreError, match=r"has 5 bytes, and .* have 32"):
        client.lookup("averaged", keys[:1])


@engines
@pytest.mark.parametrize(("value", "message"), [
    (b"{}", "the record of the version cannot be used"),
    (b"\xff\xfe", "the record of the version cannot be used"),
])  # fmt: skip
def test_a_record_that_is_wrong(value: bytes, message: str, model: Model, servers: Cluster, tmp_path: Path) -> None:
    export(model, tmp_path, servers)
    servers.owner_of("split:1:record").client.set("split:1:record", value)
    with LookupClient(open_store(tmp_path)) as client, pytest.raises(StoreError, match=message):
        client.pin()


@engines
def test_keys_of_another_program_are_left_alone(model: Model, servers: Cluster, tmp_path: Path) -> None:
    servers.owner_of("split:1:0:3").client.set("split:1:0:3", "mine")
    with pytest.raises(StoreError, match="Redis has the key split:1:0:3 already, and not from us"):
        export(model, tmp_path, servers)
    assert servers.owner_of("split:1:0:3").client.get("split:1:0:3") == b"mine"
    servers.owner_of("split:versions").client.set("split:versions", "mine")
    with pytest.raises(StoreError, match="refuses a command: WRONGTYPE"):
        export(model, tmp_path, servers)


KILLED = """
import os, sys
from pathlib import Path
from hugectr2onnx.stores import redis_store
from hugectr2onnx.stores.export import export_split
from tests.stores.models import write_model
redis_store.RedisWriter.finish = lambda self, record: os.kill(os.getpid(), 9)
model = write_model(Path(sys.argv[1]), seed=5)
export_split(model.graph, model.weights, sys.argv[2], store="redis", addresses=sys.argv[3], options=model.options)
"""


@engines
def test_a_killed_export_leaves_the_version_before_and_the_next_one_tidies(
    model: Model, servers: Cluster, tmp_path: Path
) -> None:
    folder = tmp_path / "s"
    export(model, folder, servers)
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "other"), str(folder), servers.nodes[0].address],
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == -9
    assert any(key.startswith("split:2:0:") for key in servers.keys())  # noqa: SIM118
    feeds = model.feeds(8)
    with SplitScorer(folder) as scorer:
        assert same_bits(scorer(feeds), model.compile().run(feeds))
    with pytest.raises(StoreError, match=r"its lock ends in 1[012]\d seconds, or with .*--break-lock"):
        export(model, folder, servers)
    assert main(["export", "versions", str(folder), "--break-lock"]) == 0
    assert export(model, folder, servers, version="3") == "3"
    assert not any(key.startswith("split:2:") for key in servers.keys())  # noqa: SIM118


@engines
def test_an_export_that_redis_refuses_leaves_nothing(three: Cluster, model: Model, tmp_path: Path) -> None:
    with single_server(tmp_path) as node:
        export(model, tmp_path / "s", node)
        before = set(node.client.keys("*"))
        node.client.config_set("maxmemory", "1mb")
        node.client.config_set("maxmemory-policy", "noeviction")
        with pytest.raises(StoreError, match=r"refuses a command: .*command not allowed when used memory"):
            export(model, tmp_path / "s", node)
        node.client.config_set("maxmemory", "0")
        assert set(node.client.keys("*")) - {b"split:writer"} == before
        assert node.client.get("split:current") == b"1"


@pytest.mark.parametrize(("text", "expected"), [
    ("localhost", Address("localhost", 6379)),
    ("10.0.0.1:7000", Address("10.0.0.1", 7000)),
    ("rediss://cache.example.org:6380", Address("cache.example.org", 6380, True)),
    ("[::1]:7001", Address("::1", 7001)),
    ("redis://host:7000/0", Address("host", 7000)),
    ("redis://reader:p%40ss%2F@host", Address("host", 6379, user="reader", password="p@ss/")),
    ("rediss://:pass@host:1", Address("host", 1, True, password="pass")),
])  # fmt: skip
def test_addresses(text: str, expected: Address) -> None:
    assert Address.parse(text) == expected


@pytest.mark.parametrize("text", ["", "host:0", "host:99999", "a b", "u:secret@host:1", "redis://u:secret@host:0", "redis://host/3",
                                  "http://u:secret@x"])  # fmt: skip
def test_texts_that_are_no_address(text: str) -> None:
    with pytest.raises(OptionError, match="is not the address of a Redis node") as caught:
        Address.parse(text)
    assert "secret" not in str(caught.value)


def test_what_is_printed_of_an_address_has_no_password() -> None:
    address = Address.parse("redis://user:secret@host:7000")
    assert "secret" not in f"{address} {address!r}"
    assert str(address) == "host:7000"


@engines
def test_a_cluster_with_a_password(
    three: Cluster, model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every node is asked with the user and the password of the address, and no file has them."""
    with cluster(tmp_path) as locked:
        for node in locked.nodes:
            node.client.execute_command("ACL", "SETUSER", "writer", "on", ">s3:cret", "~*", "+@all")
            node.client.execute_command("ACL", "SETUSER", "default", "off")
        address = f"redis://writer:s3%3Acret@{locked.nodes[0].address}"
        export_split(
            model.graph, model.weights, tmp_path / "s", store="redis", addresses=address, options=model.options
        )
        assert not any(b"cret" in path.read_bytes() for path in (tmp_path / "s").rglob("*") if path.is_file())
        feeds = model.feeds(8)
        with SplitScorer(tmp_path / "s", LookupClient(open_store(tmp_path / "s", addresses=address))) as scorer:
            assert same_bits(scorer(feeds), model.compile().run(feeds))
        with (
            SplitScorer(tmp_path / "s") as scorer,
            pytest.raises(StoreError, match=r"refuses .*HUGECTR2ONNX_REDIS_PASS"),
        ):
            scorer(feeds)
        monkeypatch.setenv("HUGECTR2ONNX_REDIS_USERNAME", "writer")
        monkeypatch.setenv("HUGECTR2ONNX_REDIS_PASSWORD", "s3:cret")
        with SplitScorer(tmp_path / "s") as scorer:
            assert same_bits(scorer(feeds), model.compile().run(feeds))


def test_partitions_are_as_documented() -> None:
    """`(key * 0x9E3779B97F4A7C15 mod 2^64) >> 40 mod partitions`, in Python's whole numbers."""
    keys = np.array([0, 1, 2, 17, 2**40, 2**63 - 1, -1, -(2**63)], np.int64)
    expected = [(int(key) % 2**64 * 0x9E3779B97F4A7C15 % 2**64 >> 40) % 48 for key in keys.tolist()]
    assert partition_of(keys, 48).tolist() == expected
    assert len(set(partition_of(np.arange(1000), 32).tolist())) == 32
