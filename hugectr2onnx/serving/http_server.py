"""Serve a model over HTTP on this machine, by uvicorn."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

from hugectr2onnx.errors import OptionError
from hugectr2onnx.serving.extras import require
from hugectr2onnx.serving.served_model import ServedModel

if TYPE_CHECKING:
    from hugectr2onnx.serving.http_app import Limits

SHUTDOWN_SECONDS = 30
"""How long requests that are at work may go on after a signal to stop."""
MAX_CONNECTIONS = 512


def serve(
    model: ServedModel,
    host: str = "127.0.0.1",
    port: int = 8000,
    limits: Limits | None = None,
    started: Callable[[str], None] | None = None,
) -> None:
    """Serve until a signal says to stop; requests at work are finished. `started` is told the model's address.

    Raises OptionError for an address that cannot be listened on, UnsupportedError where the extra `serve` is missing.
    """
    for package in ("starlette", "pydantic", "uvicorn", "prometheus_client"):
        require(package, "serve")
    import uvicorn

    from hugectr2onnx.serving.http_app import create_app

    app = create_app(model, limits)
    with listening(host, port) as listener:
        shown = f"[{host}]" if ":" in host else host
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            server_header=False,
            lifespan="off",
            limit_concurrency=MAX_CONNECTIONS,
            timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        )
        if started is not None:
            started(f"http://{shown}:{listener.getsockname()[1]}/v2/models/{model.name}")
        try:
            uvicorn.Server(config).run(sockets=[listener])
        finally:
            app.state.monitor.close()


def listening(host: str, port: int) -> socket.socket:
    """Return a socket that listens. Raises OptionError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=MAX_CONNECTIONS)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OptionError(
            f"cannot listen on {host} port {port}: {reason}; choose another address", option="port"
        ) from None
