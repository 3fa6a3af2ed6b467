"""`python -m hugectr2onnx.serving.kserve_server MODEL.onnx`: KServe's server with one model; the container runs this."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from hugectr2onnx.errors import HugeCTR2ONNXError
from hugectr2onnx.serving.extras import require
from hugectr2onnx.serving.http_server import SHUTDOWN_SECONDS, listening
from hugectr2onnx.serving.served_model import ServedModel

APPLICATION = "kserve.model_server:app"


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until a signal says to stop. Returns the exit code of an error."""
    parser = argparse.ArgumentParser(prog="python -m hugectr2onnx.serving.kserve_server")
    parser.add_argument("model", metavar="MODEL.onnx")
    parser.add_argument("--name", help="the model's name (default: that of the file)")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on; 0.0.0.0 in a container")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--threads", type=int, default=1, help="cores for one prediction (default 1)")
    arguments = parser.parse_args(argv)
    # The SDK reads the command line of its process when it is imported, and would take our flags for its own.
    sys.argv = sys.argv[:1]
    try:
        serve(ServedModel(arguments.model, arguments.name, threads=arguments.threads), arguments.host, arguments.port)
    except HugeCTR2ONNXError as error:
        sys.stderr.write(f"error: {error.describe()}\n")
        return error.exit_code
    return 0


def serve(model: ServedModel, host: str, port: int) -> None:
    """Serve by the SDK's HTTP server, without gRPC: the SDK listens for that on every address.

    Raises OptionError for an address that cannot be listened on, UnsupportedError without the extra `kserve`.
    """
    kserve = require("kserve", "kserve")
    from kserve.protocol.rest.server import RESTServer

    from hugectr2onnx.serving.kserve_model import KServeModel

    server = kserve.ModelServer(http_port=port, enable_grpc=False)
    served = KServeModel(model)
    served.load()
    server.register_model(served)
    rest = RESTServer(
        APPLICATION, server.dataplane, server.model_repository_extension, port, grace_period=SHUTDOWN_SECONDS
    )
    with listening(host, port) as listener:
        try:
            rest.run(sockets=[listener])
        finally:
            served.monitor.close()


if __name__ == "__main__":
    sys.exit(main())
