"""onnxsim on a finished model: in a child process, without the weights, and only if its answer stands up.

Nothing that goes wrong here is an error: the model is then used as it is, and the reason goes into the report.
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from hugectr2onnx.backend.onnx.artifact import Artifact
from hugectr2onnx.backend.onnx.protobuf_stream import serialise
from hugectr2onnx.backend.simplify.skeleton import SkeletonError, restore, strip
from hugectr2onnx.backend.simplify.worker import SHARED, Worker, WorkerError, prewarm
from hugectr2onnx.errors import HugeCTR2ONNXError

__all__ = ["SimplifyResult", "prewarm", "simplify"]

SIMPLIFY_TIMEOUT = 120.0
REQUEST_LIMIT = 256 << 20
"""A skeleton above this many bytes is not sent: it is not one that the compiler made."""


@dataclass(frozen=True, eq=False)
class SimplifyResult:
    """The model to go on with, whether it changed, and if it could not be simplified, why not."""

    artifact: Artifact
    changed: bool
    reason: str | None = None


def simplify(artifact: Artifact, *, timeout: float = SIMPLIFY_TIMEOUT, worker: Worker = SHARED) -> SimplifyResult:
    """Return the artifact as onnxsim simplifies it, not yet compared with anything; never raises for what onnxsim does.

    Inputs, outputs, operator sets, metadata and tables are those of the artifact. The same artifact gives the same
    result, whatever was simplified before.
    """
    try:
        model = _simplified(artifact, timeout, worker)
    except (SkeletonError, WorkerError, HugeCTR2ONNXError) as error:
        return _unchanged(artifact, str(error))
    except Exception as error:
        # A step that only improves the model must not cost the user the model, whatever an answer looks like.
        return _unchanged(artifact, f"{type(error).__name__}: {error}")
    if serialise(model) == serialise(artifact.skeleton):
        return SimplifyResult(artifact, False)
    names = {tensor.name for tensor in model.graph.initializer}
    tensors = {name: blob for name, blob in artifact.tensors.items() if name in names}
    return SimplifyResult(Artifact(model, tensors), True)


def _unchanged(artifact: Artifact, why: str) -> SimplifyResult:
    return SimplifyResult(artifact, False, f"onnxsim was not used: {' '.join(why.split())}")


def _simplified(artifact: Artifact, timeout: float, worker: Worker) -> onnx.ModelProto:
    skeleton = strip(artifact.skeleton)
    request = serialise(skeleton.model)
    if len(request) > REQUEST_LIMIT:
        raise SkeletonError(f"the model has {len(request):,} bytes beside its weights, more than {REQUEST_LIMIT:,}")
    answer = onnx.ModelProto()
    try:
        answer.ParseFromString(bytes(worker.ask(request, timeout)))
        restored = restore(skeleton, answer)
        # Checked without its weights: the checker would look for the tables on the disk.
        onnx.checker.check_model(strip(restored).model, full_check=True)
    except (DecodeError, onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise SkeletonError(f"its result is not a valid model: {error}") from error
    return restored
