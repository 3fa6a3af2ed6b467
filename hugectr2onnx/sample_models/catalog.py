"""The sample models by name, and the folders that they make."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from hugectr2onnx.errors import UnsupportedError, WeightsError
from hugectr2onnx.sample_models import criteo, cross, din_bst, dlrm, factorization, multi_task, ncf, wide_and_deep
from hugectr2onnx.sample_models.builder import ModelBuilder
from hugectr2onnx.sample_models.size import SIZES, Scale, Size

if TYPE_CHECKING:
    from hugectr2onnx.frontend.weights.snapshot import Weights


@dataclass(frozen=True)
class Sample:
    """A model that can be made in two sizes; `description` is one line."""

    description: str
    build: Callable[[Size], ModelBuilder]


@dataclass(frozen=True)
class SamplePaths:
    """A sample on disk, and what `compile` may be told about it.

    `layer_attrs` is what the JSON loses; the size of the dense file tells it too, so it need not be given.
    `slot_size_array` is the reader's list by which the keys are offset, None where they are not; given to `compile`, the
    model takes raw keys.
    """

    name: str
    graph: Path
    weights: Weights
    layer_attrs: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    slot_size_array: tuple[int, ...] | None = None


SAMPLES: Mapping[str, Sample] = MappingProxyType(
    {
        "wdl": Sample("Wide and deep: a linear model beside a perceptron, two tables", wide_and_deep.wdl),
        "dcn": Sample("Deep and cross network, two hashed 64-bit keys a slot", cross.dcn),
        "dcnv2": Sample("Deep and cross network v2: low-rank crosses, several keys a slot", cross.dcnv2),
        "deepfm": Sample("Factorization machine beside a perceptron", factorization.deepfm),
        "dlrm": Sample("DLRM: dot products of all pairs of embeddings", dlrm.dlrm),
        "criteo_bn": Sample("One slot of up to 39 keys, averaged; BatchNorm", criteo.criteo_bn),
        "din": Sample("Deep interest network: attention over a history, batch statistics", din_bst.din),
        "bst": Sample("Behaviour sequence transformer: masked multi-head attention", din_bst.bst),
        "mmoe": Sample("Multi-gate mixture of experts, two labels", multi_task.mmoe),
        "shared_bottom": Sample("Two labels from shared layers", multi_task.shared_bottom),
        "ncf": Sample("Collaborative filtering by a perceptron", ncf.ncf),
        "gmf": Sample("Collaborative filtering by generalized matrix factorization", ncf.gmf),
        "neumf": Sample("Neural matrix factorization: ncf and gmf in one", ncf.neumf),
    }
)


def write_sample(
    name: str,
    folder: str | os.PathLike[str],
    *,
    seed: int = 0,
    scale: Scale = "small",
    rows: int | Mapping[str, int] | None = None,
) -> SamplePaths:
    """Write a HugeCTR model folder with random weights: NAME.json and the snapshot NAME_dense_0.model, NAME0_sparse_0.model...

    scale: "small" for tests, "realistic" for the widths of NVIDIA's samples and tables of about 300,000 rows in all.
    rows: of every table, or by the embedding's top. The same arguments give the same bytes.

    Raises UnsupportedError for an unknown name or scale, WeightsError for rows that no table can have, and OutputError for
    a folder that cannot be written.
    """
    from hugectr2onnx.sample_models import writer
    from hugectr2onnx.sample_models.generate import generate_weights

    model = sample(name).build(_size(scale, rows))
    _check_tops(rows, model)
    weights = generate_weights(
        model.graph(),
        folder,
        seed=seed,
        rows=model.rows,
        keys=model.keys,
        prefix=name,
        layer_attrs=model.layer_attrs,
        slot_size_array=model.slot_size_array,
    )
    with writer.staged(Path(folder)) as scratch:
        writer.write_text(scratch / f"{name}.json", model.text())
    return SamplePaths(name, Path(folder) / f"{name}.json", weights, model.layer_attrs, model.slot_size_array)


def sample(name: str) -> Sample:
    """Return the sample of that name; raises UnsupportedError with the names that there are."""
    if name not in SAMPLES:
        raise UnsupportedError(f"there is no sample {name!r}; there are {', '.join(SAMPLES)}")
    return SAMPLES[name]


def _size(scale: Scale, rows: int | Mapping[str, int] | None) -> Size:
    if scale not in SIZES:
        raise UnsupportedError(f"there is no scale {scale!r}; there are {', '.join(SIZES)}")
    return Size(scale, rows)


def _check_tops(rows: object, model: ModelBuilder) -> None:
    for top in rows if isinstance(rows, Mapping) else ():
        if top not in model.rows:
            raise WeightsError(f"rows names {top!r}, which is no embedding's top ({', '.join(model.rows)})")
