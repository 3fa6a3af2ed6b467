"""Ask a server that speaks the Open Inference Protocol for predictions, from several clients at once, and measure it."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import numpy as np

from hugectr2onnx.errors import FeedError
from hugectr2onnx.ir.types import Array
from hugectr2onnx.serving.tensor_forms import TensorForm, datatype_of

_TIMEOUT = 30.0
MAX_LOAD_SECONDS = 3600.0
MAX_REQUESTS = 10_000_000
HEADER_OF_LENGTH = "Inference-Header-Content-Length"


@dataclass(frozen=True)
class Target:
    """The address of a model: `http://HOST:PORT/v2/models/NAME`."""

    host: str
    port: int
    path: str

    @classmethod
    def of(cls, url: str) -> Target:
        """Raises FeedError for an address that is not one of a model."""
        parts = urlsplit(url)
        if parts.scheme != "http" or parts.hostname is None or "/v2/models/" not in parts.path:
            raise FeedError(f"{url} is not the address of a model, such as http://127.0.0.1:8000/v2/models/wdl")
        return cls(parts.hostname, parts.port or 80, parts.path.rstrip("/"))

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self.host, self.port, timeout=_TIMEOUT)

    def inputs(self) -> tuple[TensorForm, ...]:
        """Return the inputs that the server's metadata name. Raises FeedError where no such server answers."""
        connection = self.connect()
        try:
            connection.request("GET", self.path)
            answer = connection.getresponse()
            described = json.loads(answer.read())
            return tuple(TensorForm(e["name"], e["datatype"], tuple(map(int, e["shape"]))) for e in described["inputs"])
        except (OSError, ValueError, KeyError, TypeError, http.client.HTTPException) as error:
            raise FeedError(f"http://{self.host}:{self.port}{self.path} does not describe a model: {error}") from None
        finally:
            connection.close()


@dataclass
class ClientLog:
    """The log of clients: seconds of each answered request, and how many got an error or nothing."""

    seconds: list[float] = field(default_factory=list)
    errors: int = 0
    first_error: str = ""


@dataclass(frozen=True)
class LoadFigures:
    """Of a measurement: requests answered, errors, requests a second, seconds at the median and the 99th percentile."""

    requests: int
    errors: int
    rate: float
    p50: float
    p99: float
    first_error: str = ""


def binary_request(target: Target, arrays: Mapping[str, Array]) -> bytes:
    """Return a whole HTTP request, whose tensors and those of its answer are bytes.

    It is made before the clock runs, and goes out in one piece: http.client would send the body behind the headers.
    """
    parts = {name: np.ascontiguousarray(array).tobytes() for name, array in arrays.items()}
    inputs = [
        {
            "name": name,
            "datatype": datatype_of(array),
            "shape": list(array.shape),
            "parameters": {"binary_data_size": len(parts[name])},
        }
        for name, array in arrays.items()
    ]
    head = json.dumps({"inputs": inputs, "parameters": {"binary_data_output": True}}).encode()
    body = b"".join([head, *parts.values()])
    lines = [
        f"POST {target.path}/infer HTTP/1.1",
        f"Host: {target.host}:{target.port}",
        "Content-Type: application/octet-stream",
        f"{HEADER_OF_LENGTH}: {len(head)}",
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join([*lines, "", ""]).encode("ascii") + body


def measure_server(
    url: str,
    batches: Sequence[Mapping[str, Array]],
    *,
    clients: int = 1,
    seconds: float = 5.0,
    rate: float | None = None,
) -> LoadFigures:
    """Send batches for some seconds. rate: requests a second of all clients together; None sends the next at once.

    Latencies with a rate count from the time at which a request was due, so that a server that stalls is not spared.
    """
    target = Target.of(url)
    requests = [binary_request(target, batch) for batch in batches]
    seconds = min(seconds, MAX_LOAD_SECONDS)
    begin = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        jobs = [pool.submit(_ask, target, requests, begin, seconds, number, clients, rate) for number in range(clients)]
        logs = [job.result() for job in jobs]
    taken = time.perf_counter() - begin
    every = np.array([each for log in logs for each in log.seconds] or [float("nan")])
    answered = sum(len(log.seconds) for log in logs)
    first = next((log.first_error for log in logs if log.first_error), "")
    p50, p99 = np.percentile(every, [50, 99]).tolist()
    return LoadFigures(answered, sum(log.errors for log in logs), answered / taken, p50, p99, first)


def _ask(
    target: Target,
    requests: Sequence[bytes],
    begin: float,
    seconds: float,
    number: int,
    clients: int,
    rate: float | None,
) -> ClientLog:
    log, connection = ClientLog(), target.connect()
    for turn in range(MAX_REQUESTS):
        now = time.perf_counter()
        due = now if rate is None else begin + (turn * clients + number) / rate
        # A server that is slower than the rate does not make the measurement longer.
        if max(due, now) - begin >= seconds:
            break
        time.sleep(max(0.0, due - time.perf_counter()))
        try:
            answer, content = _answer(connection, requests[(turn + number) % len(requests)])
        except (OSError, http.client.HTTPException) as error:
            log.errors += 1
            log.first_error = log.first_error or repr(error)
            connection.close()
            continue
        if answer.status == 200:
            log.seconds.append(time.perf_counter() - due)
        else:
            log.errors += 1
            log.first_error = log.first_error or f"{answer.status} {content[:200]!r}"
    connection.close()
    return log


def _answer(connection: http.client.HTTPConnection, request: bytes) -> tuple[http.client.HTTPResponse, bytes]:
    if connection.sock is None:
        connection.connect()
    connection.sock.sendall(request)
    with http.client.HTTPResponse(connection.sock, method="POST") as answer:
        answer.begin()
        content = answer.read()
        if answer.will_close:
            connection.close()
        return answer, content
