"""Real Redis servers on 127.0.0.1, alone or as a cluster, which end with the test that started them."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SERVER = "HUGECTR2ONNX_REDIS_SERVER"
"""An environment variable: the path of redis-server where it is not on the PATH, in an unpacked Debian package."""
SLOTS = 16384
NODE_TIMEOUT_MS = 1000
WAIT_SECONDS = 20.0


def redis_server() -> str | None:
    """The program, or None where there is none."""
    return os.environ.get(SERVER) or shutil.which("redis-server")


@dataclass
class Node:
    """One server; it can be killed and started again with its data."""

    folder: Path
    port: int
    options: tuple[str, ...]
    process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def client(self) -> Any:
        import redis

        client = redis.Redis("127.0.0.1", self.port, socket_timeout=5)
        client.set_response_callback("CLUSTER SLOTS", lambda answer, **_: answer)
        return client

    def start(self) -> None:
        program = redis_server()
        assert program is not None
        self.folder.mkdir(parents=True, exist_ok=True)
        settings = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder), "--save", "",
                    "--appendonly", "yes", "--appendfsync", "always", *self.options]  # fmt: skip
        libraries = ":".join(map(str, Path(program).parents[1].glob("lib/*-linux-gnu")))
        self.process = subprocess.Popen(
            [program, *settings],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "LD_LIBRARY_PATH": libraries},
        )
        wait_for(lambda: self.client.ping())

    def kill(self) -> None:
        """End it as a crash does."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process = None

    def stop(self) -> None:
        if self.process is not None:
            self.kill()


@dataclass
class Cluster:
    """Nodes with the slots divided among the first of them; the others are replicas."""

    nodes: list[Node] = field(default_factory=list)

    @property
    def addresses(self) -> list[str]:
        return [node.address for node in self.nodes]

    def owner_of(self, key: str) -> Node:
        """The node that has a key now."""
        import redis.crc

        slot = redis.crc.key_slot(key.encode())
        for node in self.nodes:
            if node.process is None:
                continue
            for first, last, (_, port, *_), *_ in node.client.execute_command("CLUSTER SLOTS"):
                if first <= slot <= last:
                    return next(each for each in self.nodes if each.port == port)
        raise AssertionError(f"nobody has the slot of {key}")

    def keys(self) -> set[str]:
        """All keys of all nodes that run."""
        running = [node for node in self.nodes if node.process is not None]
        return {key.decode() for node in running for key in node.client.keys("*")}


@contextmanager
def single_server(folder: Path) -> Iterator[Node]:
    """A server without a cluster."""
    node = Node(folder / "alone", free_ports(1)[0], ())
    try:
        node.start()
        yield node
    finally:
        node.stop()


@contextmanager
def cluster(folder: Path, masters: int = 3, replicas: int = 0) -> Iterator[Cluster]:
    """A cluster that serves the slots that it has, though others be lost."""
    options = ("--cluster-enabled", "yes", "--cluster-node-timeout", str(NODE_TIMEOUT_MS),
               "--cluster-require-full-coverage", "no", "--repl-diskless-sync-delay", "0")  # fmt: skip
    ports = free_ports(2 * (masters + replicas))
    pairs = list(zip(ports[::2], ports[1::2], strict=True))
    found = Cluster([Node(folder / str(port), port, (*options, "--cluster-port", str(bus))) for port, bus in pairs])
    try:
        for node in found.nodes:
            node.start()
        _join(found, pairs, masters)
        yield found
    finally:
        for node in found.nodes:
            node.stop()


def _join(made: Cluster, pairs: list[tuple[int, int]], masters: int) -> None:
    first, bounds = made.nodes[0], [SLOTS * place // masters for place in range(masters + 1)]
    for place, node in enumerate(made.nodes[:masters]):
        node.client.execute_command("CLUSTER SET-CONFIG-EPOCH", place + 1)
        node.client.execute_command("CLUSTER ADDSLOTSRANGE", bounds[place], bounds[place + 1] - 1)
    for port, bus in pairs[1:]:
        first.client.execute_command("CLUSTER MEET", "127.0.0.1", port, bus)
    wait_for(lambda: all(_knows(node, len(made.nodes)) for node in made.nodes))
    for place, node in enumerate(made.nodes[masters:]):
        master = made.nodes[place % masters].client.execute_command("CLUSTER MYID")
        wait_for(lambda node=node, master=master: node.client.execute_command("CLUSTER REPLICATE", master))  # type: ignore[misc]
        wait_for(lambda node=node: node.client.info("replication")["master_link_status"] == "up")  # type: ignore[misc]


def _knows(node: Node, count: int) -> bool:
    state = node.client.execute_command("CLUSTER INFO")
    text = state.decode() if isinstance(state, bytes) else "\n".join(f"{k}:{v}" for k, v in state.items())
    return "cluster_state:ok" in text and f"cluster_known_nodes:{count}" in text


def wait_for(condition: Any) -> None:
    """Wait until a condition holds; what it raises counts as no."""
    end = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            if condition():
                return
        except Exception as error:
            if time.monotonic() > end:
                raise AssertionError("the servers did not come up") from error
        assert time.monotonic() < end, "the servers did not come up"
        time.sleep(0.05)


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody has."""
    taken = [socket.socket() for _ in range(count)]
    try:
        for each in taken:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in taken]
    finally:
        for each in taken:
            each.close()
