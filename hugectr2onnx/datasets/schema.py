"""The columns of data that a model takes, in the order of HugeCTR's Data layer (formats 1.3)."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Protocol

from hugectr2onnx.errors import FeedError

if TYPE_CHECKING:
    import onnx


class HasArtifact(Protocol):
    """A `CompiledModel`, of which only the graph's interface and its metadata are read."""

    @property
    def artifact(self) -> Any: ...


STATED_OPTIONS = "hugectr2onnx.options"
PADDING = -1


@dataclass(frozen=True)
class Label:
    """One output of the model and the label columns that it is compared with."""

    name: str
    columns: int


@dataclass(frozen=True)
class SparseInput:
    """One input of keys: `slots` consecutive slots; `width` is its third dimension, None where any width will do."""

    name: str
    slots: int
    width: int | None


@dataclass(frozen=True)
class Schema:
    """What a model takes and predicts.

    `offsets` are added to the keys of each slot on the way in, as HugeCTR's reader does (formats 4.1); none where the
    model adds them itself or the keys need none. `padding` fills the places of a slot that has fewer keys than others.
    """

    labels: tuple[Label, ...]
    dense: str | None
    dense_dim: int
    sparse: tuple[SparseInput, ...]
    vectors: tuple[str, ...] = ()
    """Further inputs, which only data given by the names of inputs can hold."""
    offsets: tuple[int, ...] = ()
    padding: int = PADDING

    @property
    def label_columns(self) -> int:
        return sum(label.columns for label in self.labels)

    @property
    def slots(self) -> int:
        return sum(each.slots for each in self.sparse)

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of the model's inputs."""
        dense = () if self.dense is None else (self.dense,)
        return (*dense, *(each.name for each in self.sparse), *self.vectors)

    def __str__(self) -> str:
        labels = ", ".join(f"{each.name}[{each.columns}]" for each in self.labels)
        keys = ", ".join(f"{each.name}[{each.slots} slots]" for each in self.sparse)
        return f"labels {labels or 'none'}; dense {self.dense or 'none'}[{self.dense_dim}]; keys {keys or 'none'}"


def schema_of(
    model: str | os.PathLike[str] | HasArtifact | Schema, slot_size_array: Sequence[int] | None = None
) -> Schema:
    """The columns that a model takes: an ONNX file, a `CompiledModel`, or a schema as it is.

    `slot_size_array` is the list of HugeCTR's Parquet reader, whose running sums are added to the keys (formats 4.1). A
    model that was compiled with one adds the offsets itself. Raises FeedError for a list that does not fit the model.
    """
    if isinstance(model, Schema):
        return _with_offsets(model, slot_size_array, None)
    skeleton = _skeleton(model)
    stated = _stated(skeleton)
    return _with_offsets(_from_interface(skeleton, stated), slot_size_array, stated.get("slot_size_array"))


def _skeleton(model: str | os.PathLike[str] | HasArtifact) -> onnx.ModelProto:
    if isinstance(model, str | os.PathLike):
        from hugectr2onnx.backend.onnx.onnx_file import read_model

        return read_model(model)
    artifact = getattr(model, "artifact", None)
    if artifact is None:
        raise FeedError(f"the model is a {type(model).__name__}; give the path of an ONNX file or a CompiledModel")
    skeleton: onnx.ModelProto = artifact.skeleton
    return skeleton


def _stated(skeleton: onnx.ModelProto) -> Mapping[str, Any]:
    """The options that the model says it was compiled with; empty for files of other converters."""
    text = next((entry.value for entry in skeleton.metadata_props if entry.key == STATED_OPTIONS), "{}")
    try:
        stated = json.loads(text)
    except ValueError:
        return {}
    return stated if isinstance(stated, dict) else {}


def _from_interface(skeleton: onnx.ModelProto, stated: Mapping[str, Any]) -> Schema:
    """Float [N, d] is the dense input, int64 [N, slot, width] the keys of one sparse top."""
    import onnx

    dense: list[tuple[str, int]] = []
    sparse: list[SparseInput] = []
    vectors: list[str] = []
    for entry in skeleton.graph.input:
        dims = _dims(entry)
        kind = entry.type.tensor_type.elem_type
        if kind == onnx.TensorProto.INT64 and len(dims) == 3 and isinstance(dims[1], int):
            sparse.append(SparseInput(entry.name, dims[1], dims[2] if isinstance(dims[2], int) else None))
        elif kind == onnx.TensorProto.FLOAT and len(dims) == 2 and isinstance(dims[1], int) and not dense:
            dense.append((entry.name, dims[1]))
        else:
            vectors.append(entry.name)
    labels = [Label(entry.name, _columns(_dims(entry))) for entry in skeleton.graph.output]
    name, dim = dense[0] if dense else (None, 0)
    padding = stated.get("padding_key")
    return Schema(
        tuple(labels), name, dim, tuple(sparse), tuple(vectors), padding=padding if type(padding) is int else PADDING
    )


def _dims(entry: onnx.ValueInfoProto) -> list[int | str]:
    return [dim.dim_value if dim.HasField("dim_value") else dim.dim_param for dim in entry.type.tensor_type.shape.dim]


def _columns(dims: Sequence[int | str]) -> int:
    columns = 1
    for dim in dims[1:]:
        columns *= dim if isinstance(dim, int) else 1
    return columns


def _with_offsets(schema: Schema, given: Sequence[int] | None, stated: object) -> Schema:
    if given is None:
        return schema
    sizes = [int(size) for size in given]
    if any(size < 0 for size in sizes):
        raise FeedError(f"slot_size_array has the negative size {min(sizes)}; give the list of the data reader")
    if len(sizes) != schema.slots:
        raise FeedError(
            f"slot_size_array has {len(sizes)} entries for the {schema.slots} slots of the model "
            f"({', '.join(f'{each.name} {each.slots}' for each in schema.sparse)}); give one for each slot"
        )
    if isinstance(stated, list) and any(stated):
        if list(stated) != sizes:
            raise FeedError(
                "the model was compiled with another slot_size_array and adds its offsets itself; leave the option out"
            )
        return schema
    from dataclasses import replace

    return replace(schema, offsets=(0, *accumulate(sizes[:-1])))
