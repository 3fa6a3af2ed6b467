"""`config.pbtxt`: what Triton is told about a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from hugectr2onnx.backend.onnx.onnx_file import EXPORTED_NAME
from hugectr2onnx.errors import OptionError, UnsupportedError
from hugectr2onnx.ir.types import Array
from hugectr2onnx.serving.protobuf_text import Word, protobuf_text
from hugectr2onnx.serving.served_model import ServedModel
from hugectr2onnx.serving.tensor_forms import TensorForm

Backend = Literal["onnxruntime", "python"]
Device = Literal["cpu", "cuda", "tensorrt"]
HUGECTR_OUTPUT = "OUTPUT"
"""With a number: the outputs' names in HugeCTR's inference backend, `OUTPUT0` (formats 6.2)."""
WARM_UP_FOLDER = "warmup"
MAX_QUEUE = 1024
"""Requests that may wait; Triton refuses further ones."""
THREADS = "threads"
"""The parameter that tells our Python model how many threads one request may use."""


@dataclass(frozen=True)
class TritonOptions:
    """The settings by which Triton runs a model.

    max_batch_size: rows that one request, or several together, may have. queue_delay_us: microseconds that a request waits
    for others. instances: predictions at once. device, gpus: where the onnxruntime backend runs.
    """

    backend: Backend = "onnxruntime"
    instances: int = 1
    threads: int = 1
    queue_delay_us: int = 100
    max_batch_size: int = 1024
    device: Device = "cpu"
    gpus: tuple[int, ...] = field(default=())


def config_text(model: ServedModel, options: TritonOptions, warm_up: Mapping[str, Array], mixes_rows: bool) -> str:
    """Return the text of config.pbtxt.

    `warm_up`: arrays of one row by input, whose bytes lie in the model's folder `warmup`. `mixes_rows`: requests may not be
    joined. Raises UnsupportedError for what a backend cannot do with this model.
    """
    _check(model, options)
    is_batched = has_batch(model)
    joins = is_batched and not mixes_rows and model.interface == "padded"
    message: dict[str, Any] = {
        "name": model.name,
        "backend": options.backend,
        "max_batch_size": options.max_batch_size if is_batched else 0,
        "default_model_filename": EXPORTED_NAME if options.backend == "onnxruntime" else None,
        "input": [_tensor(form.name, form, is_batched, model.interface) for form in model.inputs],
        "output": [_tensor(name, form, is_batched, model.interface) for name, form in outputs_of(model).items()],
        "instance_group": [_instances(options)],
        "dynamic_batching": _batching(options) if joins else None,
        "optimization": _optimization(options),
        "model_warmup": [_warm_up(model, warm_up, is_batched)],
        "parameters": [_parameter(key, value) for key, value in _parameters(options).items()],
    }
    return protobuf_text(message)


def has_batch(model: ServedModel) -> bool:
    """Tell whether requests have Triton's batch dimension: HugeCTR's clients send their vectors as a batch of one."""
    every = (*model.inputs, *model.outputs)
    return model.interface == "hugectr" or (model.interface == "padded" and all(f.shape[:1] == (-1,) for f in every))


def outputs_of(model: ServedModel) -> dict[str, TensorForm]:
    """Return the outputs by the names that clients see; those of HugeCTR's backend are vectors."""
    if model.interface != "hugectr":
        return {form.name: form for form in model.outputs}
    return {f"{HUGECTR_OUTPUT}{i}": TensorForm(f.name, f.datatype, (-1,)) for i, f in enumerate(model.outputs)}


def _check(model: ServedModel, options: TritonOptions) -> None:
    if options.backend == "onnxruntime" and model.interface == "hugectr":
        raise UnsupportedError(
            "clients of HugeCTR's backend send a batch of one and ask for OUTPUT0, which the onnxruntime backend does not "
            "know: use --backend python"
        )
    if options.backend == "onnxruntime" and model.scorer.takes_rows:
        raise UnsupportedError(
            "the model takes rows, and keys are looked up in the key maps beside it, which the onnxruntime backend does not "
            "read: use --backend python"
        )
    if options.backend == "python" and options.device != "cpu":
        raise OptionError("the Python backend runs on the CPU: use --backend onnxruntime for a GPU", option="device")


def _tensor(name: str, form: TensorForm, is_batched: bool, interface: str) -> dict[str, Any]:
    shape = form.shape[1:] if is_batched and interface == "padded" else form.shape
    # Triton wants a dimension at least; a model's one number for a row is [N].
    dims = list(shape) or [1]
    entry: dict[str, Any] = {"name": name, "data_type": Word(triton_type(form)), "dims": dims}
    return entry if shape else {**entry, "reshape": {"shape": []}}


def triton_type(form: TensorForm) -> str:
    return f"TYPE_{form.datatype}"


def _batching(options: TritonOptions) -> dict[str, Any]:
    policy = {"max_queue_size": MAX_QUEUE}
    return {"max_queue_delay_microseconds": options.queue_delay_us, "default_queue_policy": policy}


def _instances(options: TritonOptions) -> dict[str, Any]:
    if options.device == "cpu":
        return {"count": options.instances, "kind": Word("KIND_CPU")}
    return {"count": options.instances, "kind": Word("KIND_GPU"), "gpus": list(options.gpus or (0,))}


def _optimization(options: TritonOptions) -> dict[str, Any] | None:
    """TensorRT takes the parts of the graph that it can; the rest goes to CUDA, and what that lacks to the CPU."""
    if options.device != "tensorrt":
        return None
    settings = {
        "precision_mode": "FP32",
        "max_workspace_size_bytes": str(1 << 30),
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": f"/tmp/{EXPORTED_NAME}.trt",
    }
    parameters = [{"key": key, "value": value} for key, value in settings.items()]
    return {"execution_accelerators": {"gpu_execution_accelerator": [{"name": "tensorrt", "parameters": parameters}]}}


def _parameters(options: TritonOptions) -> dict[str, str]:
    if options.backend == "python":
        return {THREADS: str(options.threads)}
    found = {"intra_op_thread_count": str(options.threads), "inter_op_thread_count": "1"}
    if options.device == "cpu":
        return found
    # Memory of the GPU as requests need it, in steps of their size, and no search for the best convolution: there is none.
    return {**found, "arena_extend_strategy": "1", "cudnn_conv_algo_search": "2"}


def _parameter(key: str, value: str) -> dict[str, Any]:
    return {"key": key, "value": {"string_value": value}}


def warm_up_file(place: int) -> str:
    """Return the file with the bytes of an input, by its number: names of inputs may hold what names of files cannot."""
    return f"input{place}"


def _warm_up(model: ServedModel, arrays: Mapping[str, Array], is_batched: bool) -> dict[str, Any]:
    inputs = []
    for place, form in enumerate(model.inputs):
        shape: Sequence[int] = arrays[form.name].shape
        dims = list(shape[1:] if is_batched and model.interface == "padded" else shape)
        value = {"data_type": Word(triton_type(form)), "dims": dims, "input_data_file": warm_up_file(place)}
        inputs.append({"key": form.name, "value": value})
    return {"name": "keys of the model", "batch_size": 1, "inputs": inputs}
