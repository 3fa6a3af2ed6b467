"""Running models with onnxruntime: quiet, without telemetry, with errors of our own family."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hugectr2onnx.backend.onnx.artifact import Artifact, located_tensor
from hugectr2onnx.backend.onnx.onnx_file import external_tensors, read_model
from hugectr2onnx.backend.runtime import shared_initializers
from hugectr2onnx.errors import CompilerError, FeedError, OutputError, UnsupportedError
from hugectr2onnx.ir.given_feeds import OFFSETS, InputForm, check_offsets, check_rows
from hugectr2onnx.tables.regular_file import open_regular, shown

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_SHARED_BYTES = 256 << 20
"""Bytes of a model from which on its tables are not brought into memory."""
CHECKED = 64 << 20
"""Bytes of a model file up to which we look at its external tensors ourselves; only one with large keys is larger."""
NO_MEMORY = "bad_alloc"
"""What onnxruntime says where it cannot map a table."""
CPU = ("CPUExecutionProvider",)
_ELEMENT_TYPES = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(float16)": np.float16,
                  "tensor(int64)": np.int64, "tensor(int32)": np.int32, "tensor(uint8)": np.uint8,
                  "tensor(bool)": np.bool_}  # fmt: skip


def onnxruntime() -> Any:
    """Return the onnxruntime module, imported with its telemetry off: a bare import would write a device id on Linux."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime as module

    return module


def session(
    artifact: Artifact, *, providers: Sequence[str] = CPU, options: Any = None, large: int = MAX_SHARED_BYTES
) -> Any:
    """Return an `onnxruntime.InferenceSession` of the model, which reads the tables where they lie.

    The session shares the memory of every one-part tensor, memory maps included; while it opens, onnxruntime holds one
    copy. A model of more than `large` bytes is written to a temporary folder instead and mapped from there. `options` is
    a `SessionOptions`, used up by this call: give a new one for each session. Raises UnsupportedError for a provider that
    this onnxruntime lacks, CompilerError for a model that it rejects.
    """
    if artifact.nbytes > large:
        return _session_on_disk(artifact, providers, options)
    values = {name: blob.materialise() for name, blob in artifact.tensors.items()}
    shared = {name: onnxruntime().OrtValue.ortvalue_from_numpy(array) for name, array in values.items()}
    options = options if options is not None else quiet_options()
    if shared:
        # The first keeps the payloads out of the message; the second makes the session use our memory, not a copy.
        options.add_external_initializers(list(shared), list(shared.values()))
        for name, value in shared.items():
            options.add_initializer(name, value)
    model = b"".join(artifact.stream(_placeholders(artifact)))
    opened = _open(model, options, providers, CompilerError, "onnxruntime rejects the model that was built")
    # onnxruntime does not own this memory: it has to live as long as the session.
    vars(opened)["hugectr2onnx_tensors"] = (values, shared)
    return opened


def _session_on_disk(artifact: Artifact, providers: Sequence[str], options: Any) -> Any:
    """Return a session on files of its own, which go when it does (where the system allows, as soon as they are mapped)."""
    from hugectr2onnx.backend.runtime.temporary_folder import TemporaryFolder
    from hugectr2onnx.backend.saving.save import save_privately
    from hugectr2onnx.backend.saving.writable import output_errors

    with output_errors(tempfile.gettempdir()):
        folder = TemporaryFolder()
    try:
        opened = open_session(save_privately(artifact, folder.path), providers=providers, options=options)
    except BaseException as error:
        folder.remove()
        if isinstance(error, OutputError):
            error.add_note(
                "a session on a model of this size needs a temporary copy: set TMPDIR, or save the model and open that"
            )
        raise
    if os.name == "posix":
        folder.remove()
    vars(opened)["hugectr2onnx_folder"] = folder
    return opened


def open_session(path: str | os.PathLike[str], *, providers: Sequence[str] = CPU, options: Any = None) -> Any:
    """Return an `onnxruntime.InferenceSession` of a model file, whose tables may be larger than this machine's memory.

    `options` is a `SessionOptions`, used up by this call: give a new one for each session. FeedError where there is no
    model that onnxruntime can run, UnsupportedError for a provider that it lacks.
    """
    with open_regular(path, FeedError, "an ONNX file") as file:
        if not file.read(1):
            raise FeedError(f"the ONNX file {shown(path)} is empty: write it again")
        size = os.fstat(file.fileno()).st_size
    if size <= CHECKED:
        # onnxruntime would follow a hard link to a file elsewhere.
        external_tensors(read_model(path), path)
    name = os.fspath(path)
    options = options if options is not None else quiet_options()
    # onnxruntime looks for the tables beside the symbolic link, then refuses them for not lying beside the model.
    found, what = os.path.realpath(name), f"onnxruntime cannot open {shown(name)}"
    try:
        return _open(found, options, providers, FeedError, what)
    except FeedError as error:
        if NO_MEMORY not in str(error) or tuple(providers) != CPU:
            raise
        tensors = shared_initializers.large_tensors(Path(found))
        if not tensors:
            raise
    values = {name: onnxruntime().OrtValue.ortvalue_from_numpy(array) for name, array in tensors.items()}
    for tensor, value in values.items():
        options.add_initializer(tensor, value)
    opened = _open(found, options, providers, FeedError, what)
    vars(opened)["hugectr2onnx_tensors"] = (tensors, values)
    return opened


def run(opened: Any, feeds: Mapping[str, Any], outputs: Sequence[str] | None = None) -> dict[str, NDArray[Any]]:
    """Return the outputs of a session by name, all of them or those asked for.

    Raises FeedError, naming the input, for one that is missing, unknown, of another type or of another shape.
    """
    names = list(outputs) if outputs is not None else [output.name for output in opened.get_outputs()]
    arrays = _checked_feeds(opened, feeds)
    try:
        return dict(zip(names, opened.run(names, arrays), strict=True))
    except Exception as error:
        raise FeedError(f"onnxruntime failed on these inputs: {_plain(error)}") from error


def quiet_options() -> Any:
    """Session options that print nothing: what goes wrong is raised."""
    options = onnxruntime().SessionOptions()
    options.log_severity_level = 4
    return options


def _open(model: bytes | str, options: Any, providers: Sequence[str], family: type[Exception], what: str) -> Any:
    available = onnxruntime().get_available_providers()
    unknown = [provider for provider in providers if provider not in available]
    if unknown:
        raise UnsupportedError(
            f"this onnxruntime has no {', '.join(unknown)}: use one of {', '.join(available)}, "
            "or install the onnxruntime package that has it"
        )
    try:
        return onnxruntime().InferenceSession(model, options, providers=list(providers))
    except Exception as error:
        raise family(f"{what}: {_plain(error)}") from error


def _placeholders(artifact: Artifact) -> dict[str, Any]:
    tensors = (tensor for tensor in artifact.skeleton.graph.initializer if tensor.name in artifact.tensors)
    return {t.name: located_tensor(t, "in-memory", 0, artifact.tensors[t.name].nbytes) for t in tensors}


def _checked_feeds(opened: Any, feeds: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    inputs = {entry.name: entry for entry in opened.get_inputs()}
    missing, unknown = inputs.keys() - feeds.keys(), feeds.keys() - inputs.keys()
    if missing or unknown:
        listed = "; ".join(f"{name} {_form(entry)}" for name, entry in inputs.items())
        faults = [f"lacks {', '.join(sorted(missing))}"] if missing else []
        faults += [f"has the unknown {', '.join(sorted(map(str, unknown)))}"] if unknown else []
        raise FeedError(f"the feed {' and '.join(faults)}; the model's inputs are: {listed}")
    arrays = {name: _checked_array(entry, feeds[name]) for name, entry in inputs.items()}
    # onnxruntime broadcasts one row beside several, and reads past the end of none.
    check_rows((name, InputForm.of_entry(entry), arrays[name].shape) for name, entry in inputs.items())
    for name in arrays:
        offsets = f"{name}{OFFSETS}"
        if offsets in arrays and arrays[name].ndim == 1:
            check_offsets(offsets, arrays[offsets], len(arrays[name]), name)
    return arrays


def _checked_array(entry: Any, value: Any) -> NDArray[Any]:
    try:
        array = np.asarray(value)
    except (ValueError, TypeError, OverflowError) as error:
        raise FeedError(f"input {entry.name} is not an array: {error}") from error
    wanted = _ELEMENT_TYPES.get(entry.type)
    fits = array.ndim == len(entry.shape) and all(
        not isinstance(dim, int) or dim == size for dim, size in zip(entry.shape, array.shape, strict=True)
    )
    if not fits or (wanted is not None and array.dtype != wanted):
        raise FeedError(f"input {entry.name} is {array.dtype} {list(array.shape)}; the model wants {_form(entry)}")
    return array


def _form(entry: Any) -> str:
    shape = ", ".join("?" if dim is None else str(dim) for dim in entry.shape)
    wanted = _ELEMENT_TYPES.get(entry.type)
    return f"{np.dtype(wanted).name if wanted else entry.type} [{shape}]"


def _plain(error: Exception) -> str:
    return " ".join(str(error).replace("[ONNXRuntimeError] : ", "").split())
