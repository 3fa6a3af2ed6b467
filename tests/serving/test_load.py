"""Measuring a server: what is counted, and that a measurement ends when it should."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest

from hugectr2onnx.errors import FeedError
from hugectr2onnx.serving.load import Target, measure_server


class Answer(BaseHTTPRequestHandler):
    """Answers after a while with a status."""

    protocol_version = "HTTP/1.1"
    seconds, status = 0.0, 200

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        time.sleep(self.seconds)
        self.send_response(self.status)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Any]:
    """The address of a server, and the class that says how it answers."""
    kind = type("Kind", (Answer,), {})
    with ThreadingHTTPServer(("127.0.0.1", 0), kind) as made:
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{made.server_address[1]}/v2/models/m", kind
        made.shutdown()
        thread.join()


BATCHES = [{"x": np.zeros((2, 3), np.float32)}]


def test_latencies_and_rate(server: Any) -> None:
    url, kind = server
    kind.seconds = 0.02
    figures = measure_server(url, BATCHES, clients=2, seconds=0.5)
    assert figures.errors == 0
    assert 0.02 <= figures.p50 <= figures.p99
    assert 10 <= figures.requests <= 50
    assert figures.rate == pytest.approx(figures.requests / 0.5, rel=0.3)


def test_errors_are_counted_and_the_first_is_told(server: Any) -> None:
    url, kind = server
    kind.status = 400
    figures = measure_server(url, BATCHES, seconds=0.1)
    assert figures.requests == 0
    assert figures.errors > 0
    assert figures.first_error == "400 b'{}'"


def test_a_server_slower_than_the_rate_makes_it_no_longer(server: Any) -> None:
    url, kind = server
    kind.seconds = 0.1
    begin = time.monotonic()
    figures = measure_server(url, BATCHES, clients=2, seconds=0.5, rate=1000)
    assert time.monotonic() - begin < 2
    assert figures.p99 > 0.3, "the wait of a request that was due counts"


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8000/metrics", "ftp://h/v2/models/m", "wdl.onnx", "http:///v2/models/m"]
)
def test_what_is_no_address_of_a_model(url: str) -> None:
    with pytest.raises(FeedError, match="is not the address of a model, such as http://"):
        Target.of(url)
