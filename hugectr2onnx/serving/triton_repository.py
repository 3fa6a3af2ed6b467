"""Write a model repository of Triton: `REPOSITORY/NAME/config.pbtxt` and `REPOSITORY/NAME/1/model.onnx`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hugectr2onnx.backend.onnx.onnx_file import EXPORTED_NAME
from hugectr2onnx.errors import OptionError
from hugectr2onnx.serving.gpu_nodes import nodes_on_the_cpu
from hugectr2onnx.serving.known_keys import warm_up_feeds
from hugectr2onnx.serving.model_files import copy_model, new_folder
from hugectr2onnx.serving.served_model import VERSION, ServedModel
from hugectr2onnx.serving.triton_config import WARM_UP_FOLDER, TritonOptions, config_text, has_batch, warm_up_file

PYTHON_MODEL = '''\
"""The model for Triton's Python backend; the interpreter of the backend needs `pip install hugectr2onnx`."""

import triton_python_backend_utils  # first, as it may extend sys.path

from hugectr2onnx.serving.triton_model import TritonPythonModel

__all__ = ["TritonPythonModel", "triton_python_backend_utils"]
'''


@dataclass(frozen=True)
class TritonExport:
    """The place where a model was written, and what its owner should know."""

    folder: Path
    warnings: tuple[str, ...]


def export_triton(
    path: str | os.PathLike[str],
    repository: str | os.PathLike[str],
    *,
    name: str | None = None,
    options: TritonOptions | None = None,
    interface: str | None = None,
    force: bool = False,
) -> TritonExport:
    """Write a model into a repository. `interface`: the one that the model must have, None for any.

    Raises OptionError for a model of another interface, UnsupportedError for what the backend cannot do, OutputError for a
    model that is there already (unless `force`).
    """
    options = options or TritonOptions()
    model = ServedModel(path, name)
    require_interface(model, interface)
    mixes = model.interface == "padded" and has_batch(model) and model.mixes_rows()
    warm_up = warm_up_feeds(path, model.inputs)
    text = config_text(model, options, warm_up, mixes)
    target = Path(repository) / model.name
    with new_folder(target, force, "config.pbtxt") as folder:
        (folder / WARM_UP_FOLDER).mkdir()
        for place, form in enumerate(model.inputs):
            (folder / WARM_UP_FOLDER / warm_up_file(place)).write_bytes(warm_up[form.name].tobytes())
        (folder / VERSION).mkdir()
        copy_model(path, folder / VERSION, EXPORTED_NAME)
        if options.backend == "python":
            (folder / VERSION / "model.py").write_text(PYTHON_MODEL, encoding="utf-8")
        (folder / "config.pbtxt").write_text(text, encoding="utf-8")
    return TritonExport(target, tuple(_warnings(model, mixes, options)))


def require_interface(model: ServedModel, interface: str | None) -> None:
    """Raise OptionError unless a model has the interface that is asked for."""
    if interface is not None and interface != model.interface:
        raise OptionError(
            f"{model.path} has the interface {model.interface}, not {interface}: compile the model with --interface "
            f"{interface}, or export this one without the flag",
            option="interface",
        )


def _warnings(model: ServedModel, mixes: bool, options: TritonOptions) -> Iterator[str]:
    if mixes:
        yield "a row's prediction depends on the rows beside it (PReLU_Dice of the batch): requests are not joined"
    if options.device == "cpu":
        return
    yield "the GPU settings are generated and checked, not run: docs/serving/gpu.md"
    left = nodes_on_the_cpu(model.path)
    if left:
        listed = ", ".join(f"{count} {name}" for name, count in left.items())
        yield f'{listed} stay on the CPU, since onnxruntime\'s CUDA provider has no such kernel: see keys="indices"'
