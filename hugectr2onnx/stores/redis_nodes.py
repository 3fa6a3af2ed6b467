"""Commands to a Redis server or cluster: each goes to the node that has its key, those of one node in one pipeline.

What does not answer raises StoreUnavailableError, and the map of the cluster is asked for again: a replica may have taken over.
Nothing is tried twice here; who calls decides how patient to be.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import Any
from urllib.parse import unquote

from hugectr2onnx.errors import OptionError, StoreError, StoreUnavailableError, UnsupportedError

Command = tuple[Any, ...]
"""A command and its arguments, the key first among them."""
DEFAULT_PORT = 6379
SLOTS = 16384
MAX_THREADS = 16
USER, PASSWORD = "HUGECTR2ONNX_REDIS_USERNAME", "HUGECTR2ONNX_REDIS_PASSWORD"
"""Environment variables: a password belongs into no command line, and into no file of ours."""
_ADDRESS = re.compile(
    r"(?:(rediss?)://(?:([^:@/]*):([^@/]*)@)?)?(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+)(?::([0-9]{1,5}))?(?:/0?)?"
)


@dataclass(frozen=True)
class Address:
    """A node of Redis. user, password: None for those of the environment."""

    host: str
    port: int
    tls: bool = False
    user: str | None = None
    password: str | None = field(default=None, repr=False)

    @staticmethod
    def parse(text: str) -> Address:
        """`HOST`, `HOST:PORT`, `redis://USER:PASSWORD@HOST:PORT` or, with TLS, `rediss://...`. Raises OptionError."""
        match = _ADDRESS.fullmatch(text)
        if match is None or not 0 < int(match[5] or DEFAULT_PORT) < 65536:
            raise OptionError(
                f"{without_password(text)[:80]!r} is not the address of a Redis node: give HOST:PORT, or rediss://HOST:PORT; "
                f"user and password come from {USER} and {PASSWORD}, or stand before an @, each / : @ in them as %2F %3A %40",
                option="addresses",
            )
        user, password = (unquote(part) or None if part else None for part in match.group(2, 3))
        return Address(match[4].strip("[]"), int(match[5] or DEFAULT_PORT), match[1] == "rediss", user, password)

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def without_password(text: str) -> str:
    """Return an address without the user and the password that it may have."""
    start, _, rest = text.rpartition("@")
    scheme = start.partition("://")[0]
    return f"{scheme}://{rest}" if scheme in ("redis", "rediss") else rest


class RedisNodes:
    """The nodes behind some addresses; of a cluster, one address that answers is enough to know all."""

    def __init__(self, addresses: Sequence[Address], *, timeout: float) -> None:
        if not addresses:
            raise OptionError("no Redis node is named: give the address of one or more", option="addresses")
        self._redis = _redis()
        self._seeds = tuple(addresses)
        self._timeout = timeout
        self._clients: dict[Address, Any] = {}
        self._owners: list[Address | None] | None = None
        self._lock = Lock()
        self._pool = ThreadPoolExecutor(MAX_THREADS, thread_name_prefix="hugectr2onnx-redis")

    def run(self, commands: Sequence[Command]) -> list[Any]:
        """Return answers in the order of the commands. Raises StoreUnavailableError, and StoreError for a refused one."""
        owners = self._owners_now()
        by_node: dict[Address | None, list[int]] = {}
        for place, command in enumerate(commands):
            by_node.setdefault(owners[self._slot(command[1])] if len(owners) > 1 else owners[0], []).append(place)
        answers: list[Any] = [None] * len(commands)
        if None in by_node:
            self.forget_map()
            raise StoreUnavailableError(
                f"no Redis node has the slots of {len(by_node[None])} of {len(commands)} keys now"
            )
        asked = [(node, [commands[place] for place in places]) for node, places in by_node.items() if node is not None]
        found = (
            [self._ask(*asked[0])] if len(asked) == 1 else list(self._pool.map(lambda each: self._ask(*each), asked))
        )
        for (node, _), answered in zip(asked, found, strict=True):
            if isinstance(answered, StoreUnavailableError):
                self.forget_map()
                answered.add_note(f"{len(by_node[node])} of the {len(commands)} commands of this request are for it")
                raise answered
            for place, answer in zip(by_node[node], answered, strict=True):
                answers[place] = self._checked(node, answer)
        return answers

    def one(self, *command: Any) -> Any:
        """Return the answer to one command."""
        return self.run([command])[0]

    def forget_map(self) -> None:
        """Ask the cluster anew who has which slots before the next command."""
        self._owners = None

    def close(self) -> None:
        """Close all connections."""
        self._pool.shutdown(wait=False)
        for client in self._clients.values():
            client.close()

    def _ask(self, node: Address, commands: Sequence[Command]) -> list[Any] | StoreUnavailableError:
        try:
            pipeline = self._client(node).pipeline(transaction=False)
            for command in commands:
                pipeline.execute_command(*command)
            return list(pipeline.execute(raise_on_error=False))
        except (self._redis.exceptions.ConnectionError, self._redis.exceptions.TimeoutError, OSError) as error:
            return self._unavailable(node, error)

    def _unavailable(self, node: Address, error: Exception) -> StoreUnavailableError:
        if isinstance(error, self._redis.exceptions.AuthenticationError):
            raise StoreError(
                f"the Redis node {node} refuses the user: set {USER} and {PASSWORD}, or give redis://USER:PASSWORD@HOST:PORT"
            ) from error
        found = StoreUnavailableError(f"the Redis node {node} does not answer: {_plain(error)}")
        found.__cause__ = error
        return found

    def _checked(self, node: Address, answer: Any) -> Any:
        """Return an answer that is none of Redis' errors."""
        if not isinstance(answer, Exception):
            return answer
        known = self._redis.exceptions
        moved = (known.MovedError, known.AskError, known.ClusterDownError, known.TryAgainError, known.BusyLoadingError)
        if isinstance(answer, (*moved, known.MasterDownError, known.ConnectionError)):
            self.forget_map()
            raise StoreUnavailableError(f"the Redis node {node} cannot answer now: {_plain(answer)}") from answer
        raise StoreError(f"the Redis node {node} refuses a command: {_plain(answer)}") from answer

    def _owners_now(self) -> list[Address | None]:
        """Who has each slot; one entry for a server without a cluster."""
        with self._lock:
            if self._owners is None:
                self._owners = self._ask_for_owners()
            return self._owners

    def _ask_for_owners(self) -> list[Address | None]:
        problem: StoreUnavailableError | None = None
        for node in dict.fromkeys([*self._seeds, *self._clients]):
            try:
                information = self._client(node).info("cluster")
                if not information.get("cluster_enabled"):
                    return [node]
                slots = self._client(node).execute_command("CLUSTER SLOTS")
            except (self._redis.exceptions.ConnectionError, self._redis.exceptions.TimeoutError, OSError) as error:
                problem = self._unavailable(node, error)
                continue
            except self._redis.exceptions.ResponseError as error:
                raise StoreError(f"the Redis node {node} refuses a command: {_plain(error)}") from error
            return _owners(slots, node)
        assert problem is not None
        raise problem

    def _client(self, node: Address) -> Any:
        if node not in self._clients:
            from redis.backoff import NoBackoff
            from redis.retry import Retry

            client = self._redis.Redis(
                host=node.host,
                port=node.port,
                username=node.user or os.environ.get(USER),
                password=node.password or os.environ.get(PASSWORD),
                ssl=node.tls,
                socket_timeout=self._timeout,
                socket_connect_timeout=self._timeout,
                retry=Retry(NoBackoff(), 0),
            )
            # Some releases of redis make a mapping of this answer, and others do not.
            client.set_response_callback("CLUSTER SLOTS", lambda answer, **_: answer)
            self._clients[node] = client
        return self._clients[node]

    def _slot(self, key: Any) -> int:
        from redis.crc import key_slot

        return int(key_slot(key if isinstance(key, bytes) else str(key).encode()))


def _owners(slots: Sequence[Sequence[Any]], asked: Address) -> list[Address | None]:
    """From [first slot, last slot, [host, port, ...] of the master, those of replicas...]."""
    found: list[Address | None] = [None] * SLOTS
    for first, last, (host, port, *_), *_ in slots:
        name = host.decode() if isinstance(host, bytes) else str(host or "")
        found[first : last + 1] = [replace(asked, host=name or asked.host, port=int(port))] * (last + 1 - first)
    return found


def _redis() -> Any:
    try:
        import redis
    except ImportError as error:
        raise UnsupportedError("the Redis store needs redis: pip install 'hugectr2onnx[redis]'") from error
    return redis


def _plain(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
