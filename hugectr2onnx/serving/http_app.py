"""The Open Inference Protocol v2 over HTTP: FastAPI's routes around one model."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from hugectr2onnx.errors import FeedError, HugeCTR2ONNXError
from hugectr2onnx.serving.monitor import Monitor
from hugectr2onnx.serving.open_inference import EXTENSIONS, HEADER_LENGTH, read_request, write_response
from hugectr2onnx.serving.prometheus_metrics import PrometheusInstruments
from hugectr2onnx.serving.served_model import VERSION, ServedModel
from hugectr2onnx.version import __version__

RETRY_AFTER = "1"
MODEL_PATHS = ("/v2/models/{name}", "/v2/models/{name}/versions/{version}")
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Limits:
    """What a server takes on: bytes of one request, seconds until it has come in, requests at work and waiting."""

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
    """Reads requests, predicts in a pool of threads, counts."""

    def __init__(self, model: ServedModel, limits: Limits, monitor: Monitor):
        self.model = model
        self.limits = limits
        self.monitor = monitor
        self.pool = ThreadPoolExecutor(limits.instances, thread_name_prefix="predict")
        self.under_way = 0

    async def answer(self, request: Request) -> Response:
        # A place is taken before the body is read: what waits is bounded in number, and so in bytes.
        if self.under_way >= self.limits.instances + self.limits.max_queue:
            raise _Refusal(503, "busy", f"{self.under_way} requests are waiting already; try again later")
        self.under_way += 1
        try:
            body = await self._body(request)
            loop = asyncio.get_running_loop()
            content, json_bytes = await loop.run_in_executor(
                self.pool, self._predict, body, request.headers.get(HEADER_LENGTH)
            )
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

    def _predict(self, body: bytes, header_length: str | None) -> tuple[bytes, int | None]:
        inputs = read_request(body, header_length, self.model.inputs)
        start = time.perf_counter()
        arrays = self.model.checked(inputs.arrays)
        outputs = self.model.scorer(arrays)
        seconds = time.perf_counter() - start
        content = write_response(self.model.name, VERSION, inputs, outputs)
        self.monitor.predicted(arrays, outputs, seconds)
        return content


def create_app(model: ServedModel, limits: Limits | None = None) -> FastAPI:
    """The application: health, metadata, infer and metrics of one model, which is opened and warmed up here."""
    instruments = PrometheusInstruments()
    monitor = Monitor(model, instruments)
    model.warm_up()
    inference = _Inference(model, limits or Limits(), monitor)
    app = FastAPI(title="hugectr2onnx", version=__version__, openapi_url=None)

    async def metrics() -> Response:
        content, kind = instruments.text()
        return Response(content, headers={"content-type": kind})

    app.add_api_route("/metrics", metrics)
    _add_descriptions(app, model)
    _add_inference(app, inference)
    _add_errors(app, monitor)
    return app


def _add_descriptions(app: FastAPI, model: ServedModel) -> None:
    """Health and metadata. The model is open before the server listens: whoever gets an answer finds it ready."""

    async def server() -> dict[str, Any]:
        return {"name": "hugectr2onnx", "version": __version__, "extensions": list(EXTENSIONS)}

    async def live() -> dict[str, bool]:
        return {"live": True}

    async def ready() -> dict[str, bool]:
        return {"ready": True}

    async def metadata(name: str, version: str = VERSION) -> dict[str, Any]:
        _check_model(model, name, version)
        return model.metadata()

    async def model_ready(name: str, version: str = VERSION) -> dict[str, Any]:
        _check_model(model, name, version)
        return {"name": model.name, "ready": True}

    app.add_api_route("/v2", server)
    app.add_api_route("/v2/health/live", live)
    app.add_api_route("/v2/health/ready", ready)
    for path in MODEL_PATHS:
        app.add_api_route(path, metadata)
        app.add_api_route(f"{path}/ready", model_ready)


def _add_inference(app: FastAPI, inference: _Inference) -> None:
    async def infer(request: Request, name: str, version: str = VERSION) -> Response:
        _check_model(inference.model, name, version)
        return await inference.answer(request)

    for path in MODEL_PATHS:
        # The handler makes its response itself: nothing is left for FastAPI to convert.
        app.add_api_route(f"{path}/infer", infer, methods=["POST"], response_model=None)


def _check_model(model: ServedModel, name: str, version: str) -> None:
    if (name, version) != (model.name, VERSION):
        raise HTTPException(
            404, f"there is no model {name[:100]} version {version[:100]}; this server has {model.name}"
        )


def _add_errors(app: FastAPI, monitor: Monitor) -> None:
    """Every error is JSON `{"error": message}`; what is no fault of the client's says nothing about the inside."""

    def refuse(status: int, reason: str) -> Callable[[Request, Any], Awaitable[Response]]:
        async def handle(_: Request, error: Any) -> Response:
            monitor.refused(reason)
            return _error(status, str(error))

        return handle

    async def refused(_: Request, error: Any) -> Response:
        monitor.refused(error.reason)
        return _error(error.status, str(error), {"retry-after": RETRY_AFTER} if error.status == 503 else None)

    async def gone(_: Request, __: Any) -> Response:
        monitor.refused("slow")
        return _error(400, "the client went away")

    async def not_found(_: Request, error: Any) -> Response:
        return _error(error.status_code, str(error.detail))

    async def failed(_: Request, error: Any) -> Response:
        monitor.refused("failed")
        _logger.error("a request failed", exc_info=error)
        return _error(500, "the server failed on this request; its log says more")

    app.add_exception_handler(FeedError, refuse(400, "invalid"))
    app.add_exception_handler(_Refusal, refused)
    app.add_exception_handler(ClientDisconnect, gone)
    app.add_exception_handler(HTTPException, not_found)
    app.add_exception_handler(HugeCTR2ONNXError, failed)
    app.add_exception_handler(Exception, failed)


def _error(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"error": message}, status, headers)
