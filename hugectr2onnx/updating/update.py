"""`update`: the next snapshot of the same graph, with the options of the model that the last one gave."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import onnx

from hugectr2onnx.backend.onnx.onnx_file import as_artifact, external_tensors, read_model
from hugectr2onnx.backend.saving.key_file import KeyMapper
from hugectr2onnx.backend.saving.manifest import FileRecord
from hugectr2onnx.compiled_model import CompiledModel
from hugectr2onnx.compiler import compile
from hugectr2onnx.errors import FeedError
from hugectr2onnx.frontend.loading import load
from hugectr2onnx.frontend.resolved_options import resolve_options
from hugectr2onnx.frontend.weights.snapshot import WeightsLike
from hugectr2onnx.options import METADATA_KEY, Options, Progress
from hugectr2onnx.passes.lookups.row_number_inputs import row_number_inputs
from hugectr2onnx.updating import changes
from hugectr2onnx.updating.changes import Changes


@dataclass(frozen=True, eq=False)
class Update:
    """The new model, what was written, and what differs from the model before.

    `reused` is the number of bytes that the new model shares with the earlier one's data files, `shared` the names of these.
    """

    compiled: CompiledModel
    changes: Changes
    files: tuple[FileRecord, ...]
    reused: int = 0
    shared: frozenset[str] = frozenset()

    @property
    def shared_file_bytes(self) -> int:
        """The bytes of the files among `files` that were there before."""
        return sum(each.bytes for each in self.files if each.name in self.shared)

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the model, as JSON-ready data."""
        return {
            "changes": self.changes.to_dict(),
            "files": [{"name": each.name, "bytes": each.bytes} for each in self.files],
            "reused_bytes": self.reused,
            "report": self.compiled.report.to_dict(),
        }


def update(
    model: str | os.PathLike[str],
    graph: str | os.PathLike[str] | Mapping[str, object],
    weights: WeightsLike,
    out: str | os.PathLike[str],
    *,
    progress: Progress | None = None,
    saving: Callable[[int, int], None] | None = None,
    force: bool = False,
    **changed_options: Any,
) -> Update:
    """Compile the next snapshot of a model's graph with the options that the model states, prove and save it.

    model: the ONNX file of an earlier snapshot, which `out` may replace. graph, weights: as for `compile`. In the folder of
    the earlier model, tables whose bytes are the same are not written again: the new model refers to them where they lie.
    changed_options: options of `compile` to change; `keep_keys` and the description of an EmbeddingCollection have to be
    given again, since a model states only what they held. progress, saving: as for `compile` and `save`.

    Raises FeedError for a file that states no options or has other inputs or outputs than the graph gives, and what
    `compile` and `save` raise.
    """
    message = read_model(model)
    earlier = as_artifact(message, model)
    resolved = resolve_options(_options(message, model).changed(**changed_options))
    resolved.check_keys_kept(_metadata(message), os.fspath(model))
    compiled = compile(graph, weights, options=resolved.options, progress=progress)
    _check_interface(message, compiled.artifact.skeleton, os.fspath(model))
    if progress is not None:
        progress("changes", 0.99)
    imported = load(graph, weights, resolved).graph
    # Row numbers come in the place of keys where the model takes them; the key maps beside it say whose they are.
    by_row = row_number_inputs(imported, resolved.options.keys)
    keys_of_rows = {each.input: changes.KeysOfRows(each.keys, _key_map(model, each.input)) for each in by_row}
    found = changes.compare(imported, compiled.artifact, earlier, keys_of_rows)
    before = {place.path.name for place in external_tensors(message, model).values()}
    files = compiled.save(out, external=bool(before), earlier=model, progress=saving, force=force)
    places = [place for place in external_tensors(read_model(out), out).values() if place.path.name in before]
    in_folder = os.path.dirname(os.path.realpath(model)) == os.path.dirname(os.path.realpath(out))
    shared = frozenset(place.path.name for place in places) if in_folder else frozenset()
    return Update(compiled, found, files, sum(place.length for place in places) if in_folder else 0, shared)


def _metadata(model: onnx.ModelProto) -> str | None:
    return next((entry.value for entry in model.metadata_props if entry.key == METADATA_KEY), None)


def _options(model: onnx.ModelProto, path: str | os.PathLike[str]) -> Options:
    stated = _metadata(model)
    if stated is None:
        raise FeedError(
            f"{os.fspath(path)}: does not state the options that it was compiled with, so there is nothing to update: "
            "compile the new snapshot instead"
        )
    return Options.from_metadata(stated)


def _check_interface(earlier: onnx.ModelProto, now: onnx.ModelProto, path: str) -> None:
    for kind in ("input", "output"):
        before, after = ({each.name: _type(each) for each in getattr(model.graph, kind)} for model in (earlier, now))
        if before != after:
            raise FeedError(
                f"{path}: has the {kind}s {_listed(before)}, the new snapshot gives {_listed(after)}; is it the snapshot of "
                "another graph?"
            )


def _type(entry: onnx.ValueInfoProto) -> str:
    dims = (
        str(dim.dim_value) if dim.HasField("dim_value") else dim.dim_param for dim in entry.type.tensor_type.shape.dim
    )
    return f"[{', '.join(dims)}]"


def _listed(entries: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {type}" for name, type in sorted(entries.items())) or "none"


def _key_map(model: str | os.PathLike[str], name: str) -> KeyMapper | str:
    """Return the key map of an input of the earlier model, or why it cannot be read: the new snapshot does not need it."""
    try:
        return KeyMapper.open(model, name)
    except FeedError as error:
        return str(error)
