"""The Open Inference Protocol v2 over HTTP: Starlette's routes around one model."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from hugectr2onnx.backend.onnx.emitter import PRODUCER
from hugectr2onnx.errors import FeedError, HugeCTR2ONNXError
from hugectr2onnx.serving.monitor import Monitor
from hugectr2onnx.serving.open_inference import EXTENSIONS, HEADER_LENGTH, read_request, write_response
from hugectr2onnx.serving.prometheus_metrics import PrometheusInstruments
from hugectr2onnx.serving.served_model import VERSION, ServedModel
from hugectr2onnx.version import __version__

RETRY_AFTER = "1"
MODEL_PATHS = ("/v2/models/{name}", "/v2/models/{name}/versions/{version}")
T = TypeVar("T")
Endpoint = Callable[[Request], Awaitable[Response]]
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Limits:
    """The limits of a server: bytes of one request, seconds until it has come in, requests at work and waiting."""

    max_request_bytes: int = 16 << 20
    max_request_seconds: float = 30.0
    instances: int = 2
    max_queue: int = 64


class _Refusal(Exception):
    """A request that gets an answer without a prediction."""

    def __init__(self, status: int, reason: str, message: str):
        super().__init__(message)
        self.status = status
        self.reason = reason


class _Inference:
    """Reads requests, predicts in a pool of threads, counts behind the answer."""

    def __init__(self, model: ServedModel, limits: Limits, monitor: Monitor):
        self.model = model
        self.limits = limits
        self.monitor = monitor
        self.pool = ThreadPoolExecutor(limits.instances, thread_name_prefix="predict")
        # One thread counts, in order; reading a request takes longer than counting it, so that it keeps up.
        self.counting = ThreadPoolExecutor(1, thread_name_prefix="count")
        self.under_way = 0

    async def answer(self, request: Request) -> Response:
        # A place is taken before the body is read: what waits is bounded in number, and so in bytes.
        if self.under_way >= self.limits.instances + self.limits.max_queue:
            raise _Refusal(503, "busy", f"{self.under_way} requests are waiting already; try again later")
        self.under_way += 1
        try:
            body = await self._body(request)
            loop = asyncio.get_running_loop()
            content, json_bytes, count = await loop.run_in_executor(
                self.pool, self._predict, body, request.headers.get(HEADER_LENGTH)
            )
            self.counting.submit(count).add_done_callback(_log_failure)
        finally:
            self.under_way -= 1
        if json_bytes is None:
            return Response(content, media_type="application/json")
        headers = {HEADER_LENGTH: str(json_bytes)}
        return Response(content, media_type="application/octet-stream", headers=headers)

    async def _body(self, request: Request) -> bytes:
        limit = self.limits.max_request_bytes
        too_large = _Refusal(413, "large", f"the request has more than {limit:,} bytes")
        stated = request.headers.get("content-length", "")
        if stated.isdigit() and int(stated) > limit:
            raise too_large
        if request.headers.get("content-encoding", "identity") != "identity":
            raise _Refusal(415, "invalid", "requests are taken without a content encoding")
        body = bytearray()
        try:
            async with asyncio.timeout(self.limits.max_request_seconds):
                async for piece in request.stream():
                    body += piece
                    if len(body) > limit:
                        raise too_large
        except TimeoutError:
            seconds = self.limits.max_request_seconds
            raise _Refusal(408, "slow", f"the request was not complete after {seconds:g} seconds") from None
        return bytes(body)

    async def metrics(self, text: Callable[[], T]) -> T:
        """Return the text of the metrics, all requests that were answered before counted."""
        return await asyncio.get_running_loop().run_in_executor(self.counting, text)

    def _predict(self, body: bytes, header_length: str | None) -> tuple[bytes, int | None, Callable[[], None]]:
        """Return the answer, the length of its JSON if there are bytes behind it, and what counts the request."""
        inputs = read_request(body, header_length, self.model.inputs)
        start = time.perf_counter()
        arrays = self.model.checked(inputs.arrays)
        outputs = self.model.scorer(arrays)
        seconds = time.perf_counter() - start
        content, json_bytes = write_response(self.model.name, VERSION, inputs, outputs)
        return content, json_bytes, partial(self.monitor.predicted, arrays, outputs, seconds)


def _log_failure(job: Future[None]) -> None:
    if error := job.exception():
        _logger.error("a request was not counted", exc_info=error)


def create_app(model: ServedModel, limits: Limits | None = None) -> Starlette:
    """Return the application: health, metadata, infer and metrics of one model, which is opened and warmed up here.

    Its state has the `monitor`, which wants to be closed in the end.
    """
    instruments = PrometheusInstruments()
    monitor = Monitor(model, instruments)
    model.warm_up()
    inference = _Inference(model, limits or Limits(), monitor)

    async def metrics(_: Request) -> Response:
        content, kind = await inference.metrics(instruments.text)
        return Response(content, headers={"content-type": kind})

    routes = [Route("/metrics", metrics), *_descriptions(model), *_inference(inference)]
    app = Starlette(routes=routes, exception_handlers=_errors(monitor))
    app.state.monitor = monitor
    return app


def _descriptions(model: ServedModel) -> Iterator[Route]:
    """Health and metadata. The model is open before the server listens: whoever gets an answer finds it ready."""
    facts: dict[str, dict[str, object]] = {
        "/v2": {"name": PRODUCER, "version": __version__, "extensions": list(EXTENSIONS)},
        "/v2/health/live": {"live": True},
        "/v2/health/ready": {"ready": True},
    }
    for path, fact in facts.items():
        yield Route(path, _always(fact))
    for path in MODEL_PATHS:
        yield Route(path, _of_model(model, model.metadata()))
        yield Route(f"{path}/ready", _of_model(model, {"name": model.name, "ready": True}))


def _always(fact: Mapping[str, object]) -> Endpoint:
    async def answer(_: Request) -> Response:
        return JSONResponse(fact)

    return answer


def _of_model(model: ServedModel, fact: Mapping[str, object]) -> Endpoint:
    async def answer(request: Request) -> Response:
        _check_model(model, request)
        return JSONResponse(fact)

    return answer


def _inference(inference: _Inference) -> Iterator[Route]:
    async def infer(request: Request) -> Response:
        _check_model(inference.model, request)
        return await inference.answer(request)

    for path in MODEL_PATHS:
        yield Route(f"{path}/infer", infer, methods=["POST"])


def _check_model(model: ServedModel, request: Request) -> None:
    name, version = request.path_params["name"], request.path_params.get("version", VERSION)
    if (name, version) != (model.name, VERSION):
        raise HTTPException(
            404, f"there is no model {name[:100]} version {version[:100]}; this server has {model.name}"
        )


def _errors(monitor: Monitor) -> dict[Any, Any]:
    """Answer every error with JSON `{"error": message}`; a fault of the server's own says nothing about the inside."""

    async def invalid(_: Request, error: Exception) -> Response:
        monitor.refused("invalid")
        return _error(400, str(error))

    async def refused(_: Request, error: Any) -> Response:
        monitor.refused(error.reason)
        return _error(error.status, str(error), {"retry-after": RETRY_AFTER} if error.status == 503 else None)

    async def gone(_: Request, __: Exception) -> Response:
        monitor.refused("slow")
        return _error(400, "the client went away")

    async def not_found(_: Request, error: Any) -> Response:
        return _error(error.status_code, str(error.detail))

    async def failed(_: Request, error: Exception) -> Response:
        monitor.refused("failed")
        _logger.error("a request failed", exc_info=error)
        return _error(500, "the server failed on this request; its log says more")

    return {
        FeedError: invalid,
        _Refusal: refused,
        ClientDisconnect: gone,
        HTTPException: not_found,
        HugeCTR2ONNXError: failed,
        Exception: failed,
    }


def _error(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"error": message}, status, headers)
