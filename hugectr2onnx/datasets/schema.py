"""The columns of data that a model takes, in the order of HugeCTR's Data layer (formats 1.3)."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Protocol

from hugectr2onnx.errors import FeedError
from hugectr2onnx.frontend.embeddings.interface import ALL_KEYS, ALL_OFFSETS, CSR, DENSE, HUGECTR, PADDED
from hugectr2onnx.frontend.graph_json import data_metadata
from hugectr2onnx.frontend.graph_json.clauses import DataClause
from hugectr2onnx.ir.feeds import PADDING
from hugectr2onnx.ir.given_feeds import OFFSETS
from hugectr2onnx.options import METADATA_KEY

if TYPE_CHECKING:
    import onnx


class HasArtifact(Protocol):
    """A `CompiledModel`, of which only the graph's interface and its metadata are read."""

    @property
    def artifact(self) -> Any: ...


@dataclass(frozen=True)
class LabelColumns:
    """One output of the model and the label columns that it is compared with."""

    name: str
    columns: int


@dataclass(frozen=True)
class KeyInput:
    """One input of keys: `slots` consecutive slots; `width` is its third dimension, None where any width will do.

    `hotness` has the largest number of keys of each slot. `is_fed`: whether the model takes it; a data set has it anyway.
    """

    name: str
    slots: int
    width: int | None
    hotness: tuple[int, ...] = ()
    is_fed: bool = True


@dataclass(frozen=True)
class Schema:
    """The columns that a model takes and the labels that it predicts.

    `offsets` are added to the keys of each slot on the way in, as HugeCTR's reader does (formats 4.1); none where the
    model adds them itself or the keys need none, negative where the data has them already and the model adds them itself.
    `padding` fills the places of a slot that has fewer keys than others.
    """

    labels: tuple[LabelColumns, ...]
    dense: str | None
    dense_dim: int
    sparse: tuple[KeyInput, ...]
    vectors: tuple[str, ...] = ()
    """Further inputs, which only data given by the names of inputs can hold."""
    feeds_dense: bool = True
    """Whether the model takes the dense columns; a data set has them anyway."""
    offsets: tuple[int, ...] = ()
    own_offsets: tuple[int, ...] = ()
    """What the model itself adds to the keys of each slot; empty where it adds nothing."""
    padding: int = PADDING
    form: str = PADDED
    """How the model takes its inputs (docs/interfaces.md); `dense` and `sparse` are in the terms of the padded form."""

    @property
    def is_padded(self) -> bool:
        """Whether keys are fed as they are here, and not as vectors of keys and offsets."""
        return self.form == PADDED

    @property
    def label_columns(self) -> int:
        return sum(label.columns for label in self.labels)

    @property
    def slots(self) -> int:
        return sum(each.slots for each in self.sparse)

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of the model's inputs in the padded form."""
        dense = (self.dense,) if self.dense is not None and self.feeds_dense else ()
        return (*dense, *(each.name for each in self.sparse if each.is_fed), *self.vectors)

    def __str__(self) -> str:
        labels = ", ".join(f"{each.name}[{each.columns}]" for each in self.labels)
        keys = ", ".join(f"{each.name}[{each.slots} slots]" for each in self.sparse)
        return f"labels {labels or 'none'}; dense {self.dense or 'none'}[{self.dense_dim}]; keys {keys or 'none'}"


def schema_of(
    model: str | os.PathLike[str] | HasArtifact | Schema, slot_size_array: Sequence[int] | None = None
) -> Schema:
    """Return the columns that a model takes: an ONNX file, a `CompiledModel`, or a schema as it is.

    `slot_size_array` is the list of HugeCTR's Parquet reader, whose running sums are added to the keys (formats 4.1). A
    model that was compiled with one adds the offsets itself. Raises FeedError for a list that does not fit the model.
    """
    if isinstance(model, Schema):
        return _with_offsets(model, slot_size_array, None)
    skeleton = _skeleton(model)
    stated = _stated(skeleton)
    schema = _from_interface(skeleton, stated)
    recorded = _entry(skeleton, data_metadata.DATA_METADATA_KEY)
    if recorded is not None:
        data = data_metadata.from_metadata(recorded)
        schema = _as_recorded(_in_columns(schema, data, stated.get("interface")), data)
    return _with_offsets(schema, slot_size_array, stated.get("slot_size_array"))


def _in_columns(interface: Schema, data: DataClause, form: object) -> Schema:
    """Return the same in columns and slots, for a model that takes them as the vectors of another form of the interface."""
    if form not in (CSR, HUGECTR):
        return interface
    if form == CSR:
        own = [each for each in data.sparse if f"{each.top}{OFFSETS}" in interface.vectors]
        rest = {name for each in own for name in (each.top, f"{each.top}{OFFSETS}")}
    else:
        own = list(data.sparse) if ALL_KEYS in interface.vectors else []
        rest = {DENSE, ALL_KEYS, ALL_OFFSETS}
    return replace(
        interface,
        form=form,
        dense=data.dense_top if DENSE in interface.vectors and form == HUGECTR else interface.dense,
        sparse=tuple(KeyInput(each.top, each.slot_num, None, each.nnz_per_slot) for each in own),
        vectors=tuple(name for name in interface.vectors if name not in rest),
    )


def _as_recorded(interface: Schema, data: DataClause) -> Schema:
    """Return the columns of the model's data set, and which of them the model takes."""
    taken = {each.name: each for each in interface.sparse}
    sparse = []
    for clause in data.sparse:
        width = taken[clause.top].width if clause.top in taken else clause.max_nnz
        is_fed = clause.top in taken
        sparse.append(KeyInput(clause.top, clause.slot_num, width, clause.nnz_per_slot, is_fed))
    has_dense = data.dense_dim > 0
    return replace(
        interface,
        labels=tuple(LabelColumns(label.name, label.dim) for label in data.labels),
        dense=data.dense_top if has_dense or interface.dense == data.dense_top else None,
        dense_dim=data.dense_dim,
        feeds_dense=interface.dense == data.dense_top,
        sparse=tuple(sparse),
    )


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
    """Return the options that the model says it was compiled with; empty for files of other converters."""
    text = _entry(skeleton, METADATA_KEY)
    try:
        stated = json.loads(text or "{}")
    except ValueError:
        return {}
    return stated if isinstance(stated, dict) else {}


def _entry(skeleton: onnx.ModelProto, key: str) -> str | None:
    return next((entry.value for entry in skeleton.metadata_props if entry.key == key), None)


def _from_interface(skeleton: onnx.ModelProto, stated: Mapping[str, Any]) -> Schema:
    """Float [N, d] is the dense input, int64 [N, slot, width] the keys of one sparse top."""
    import onnx

    dense: list[tuple[str, int]] = []
    sparse: list[KeyInput] = []
    vectors: list[str] = []
    for entry in skeleton.graph.input:
        dims = _dims(entry)
        kind = entry.type.tensor_type.elem_type
        if kind == onnx.TensorProto.INT64 and len(dims) == 3 and isinstance(dims[1], int):
            sparse.append(KeyInput(entry.name, dims[1], dims[2] if isinstance(dims[2], int) else None))
        elif kind == onnx.TensorProto.FLOAT and len(dims) == 2 and isinstance(dims[1], int) and not dense:
            dense.append((entry.name, dims[1]))
        else:
            vectors.append(entry.name)
    labels = [LabelColumns(entry.name, _columns(_dims(entry))) for entry in skeleton.graph.output]
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


def without_offsets(schema: Schema) -> Schema:
    """Return the schema for data whose keys have their offsets: those that the model adds itself are taken off."""
    return replace(schema, offsets=tuple(-each for each in schema.own_offsets)) if schema.own_offsets else schema


def _with_offsets(schema: Schema, given: Sequence[int] | None, stated: object) -> Schema:
    if isinstance(stated, list) and any(stated):
        # A list that is shorter than the slots gives the rest no offset (formats 4.1).
        offsets = [*(0, *accumulate(stated))[: len(stated)], *[0] * schema.slots]
        schema = replace(schema, own_offsets=tuple(offsets[: schema.slots]))
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
    return replace(schema, offsets=(0, *accumulate(sizes[:-1])))
