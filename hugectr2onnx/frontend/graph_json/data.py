"""The Data layer of every version (formats 1.3 and 1.8)."""

from __future__ import annotations

from hugectr2onnx.frontend.graph_json.clauses import DataClause, Label, SparseInput
from hugectr2onnx.frontend.graph_json.fields import INT64_MAX, Fields
from hugectr2onnx.frontend.graph_json.names import checked_name, only_name

# Sizes of one sample that no model reaches, and that parity feeds can still allocate.
MOST_SLOTS = 1 << 20
MOST_DENSE = 1 << 24
MOST_KEYS = 1 << 24


def read_data(fields: Fields) -> DataClause:
    """Return the Data clause; raises GraphJsonError with the JSON path of what is wrong."""
    return DataClause(
        labels=_labels(fields),
        dense_top=_dense_top(fields),
        dense_dim=fields.integer("dense.dense_dim", minimum=0, maximum=MOST_DENSE) if fields.has("dense") else 0,
        sparse=_sparse_inputs(fields),
        slot_size_array=fields.integers("slot_size_array", (), minimum=0, maximum=INT64_MAX) or None,
    )


def _dense_top(fields: Fields) -> str:
    return only_name(fields, "dense.top") if fields.has("dense") else "dense"


def _labels(fields: Fields) -> tuple[Label, ...]:
    """No labels where an inference file leaves out the whole label or its name."""
    if not fields.has("label") or not fields.child("label").has("top"):
        return ()
    names = tuple(checked_name(fields, "label.top", name) for name in fields.strings("label.top"))
    if len(set(names)) < len(names):
        raise fields.wrong("label.top", "labels with different names", ", ".join(names))
    scalar = isinstance(fields.value("label.top"), str)
    # A list of one is accepted for a string, so also for its dimension.
    if isinstance(fields.child("label").value("label_dim"), list):
        dims = fields.integers("label.label_dim", minimum=1, maximum=MOST_DENSE)
    else:
        dims = (fields.integer("label.label_dim", minimum=1, maximum=MOST_DENSE),)
    if len(names) != len(dims):
        raise fields.wrong("label.label_dim", f"{len(names)} dimension{'' if scalar else 's'}, one per label", dims)
    return tuple(Label(name, dim) for name, dim in zip(names, dims, strict=True))


def _sparse_inputs(fields: Fields) -> tuple[SparseInput, ...]:
    inputs: list[SparseInput] = []
    keys = 0
    for entry in fields.children("sparse") if fields.has("sparse") else ():
        inputs.append(_sparse_input(entry))
        keys += inputs[-1].slot_num * inputs[-1].max_nnz
        if keys > MOST_KEYS:
            raise fields.wrong("sparse", f"at most {MOST_KEYS} keys a sample (slot_num x largest nnz)", keys)
    return tuple(inputs)


def _sparse_input(entry: Fields) -> SparseInput:
    slots = entry.integer("slot_num", minimum=1, maximum=MOST_SLOTS)
    return SparseInput(
        top=only_name(entry, "top"),
        slot_num=slots,
        nnz_per_slot=_nnz_per_slot(entry, slots),
        is_fixed_length=entry.boolean("is_fixed_length", False),
    )


def _nnz_per_slot(entry: Fields, slots: int) -> tuple[int, ...]:
    if not entry.has("nnz_per_slot"):
        return (_nnz_of_old_files(entry, slots),) * slots
    if not isinstance(entry.value("nnz_per_slot"), list):
        return (entry.integer("nnz_per_slot", minimum=1),) * slots
    listed = entry.integers("nnz_per_slot", minimum=1)
    if len(listed) != slots:
        raise entry.wrong("nnz_per_slot", f"{slots} numbers, one for each slot", listed)
    return listed


def _nnz_of_old_files(entry: Fields, slots: int) -> int:
    """`max_nnz` of v2.x and v3.0, else what `max_feature_num_per_sample` allows one slot (formats 1.8)."""
    if entry.has("max_nnz"):
        return entry.integer("max_nnz", minimum=1)
    if not entry.has("max_feature_num_per_sample"):
        raise entry.wrong("nnz_per_slot", "nnz_per_slot, max_nnz or max_feature_num_per_sample", None)
    most = entry.integer("max_feature_num_per_sample", minimum=1)
    return 1 if most == slots else most
