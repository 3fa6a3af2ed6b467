"""Models of embedding tables alone, written by hand, and what stands in the ONNX files that are made of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

import hugectr2onnx
from hugectr2onnx.frontend.weights.snapshot import Weights


@dataclass(frozen=True)
class Table:
    """The table of an embedding layer: row i is `vectors[i]`, for `keys[i]`."""

    keys: np.ndarray
    vectors: np.ndarray
    slot_ids: np.ndarray | None = None
    bottom: str = "keys"


@dataclass(frozen=True)
class TablesModel:
    """Look-ups of one slot list, each an output after a Reshape."""

    folder: Path
    tables: Mapping[str, Table]
    slots: int = 3
    nnz: int = 1
    combiner: str = "sum"
    prefix: str = "m"
    bottoms: Sequence[str] = field(default=("keys",))

    @property
    def graph(self) -> dict[str, Any]:
        sparse = [
            {"top": top, "slot_num": self.slots, "nnz_per_slot": [self.nnz] * self.slots, "is_fixed_length": False}
            for top in self.bottoms
        ]
        label, dense = {"top": "label", "label_dim": 1}, {"top": "dense", "dense_dim": 0}
        layers: list[dict[str, Any]] = [{"type": "Data", "label": label, "dense": dense, "sparse": sparse}]
        for top, table in self.tables.items():
            kind = "Distributed" if table.slot_ids is None else "Localized"
            hparam = {"embedding_vec_size": table.vectors.shape[1], "combiner": self.combiner}
            embedding = {"type": f"{kind}SlotSparseEmbeddingHash", "bottom": table.bottom, "top": top}
            layers.append({**embedding, "sparse_embedding_hparam": hparam})
        for top, table in self.tables.items():
            width = self.slots * table.vectors.shape[1]
            layers.append({"type": "Reshape", "bottom": top, "top": f"{top}_flat", "leading_dim": width})
        return {"layers": layers}

    def write(self, iteration: int = 0) -> Weights:
        """The snapshot."""
        self.folder.mkdir(parents=True, exist_ok=True)
        paths = []
        for number, table in enumerate(self.tables.values()):
            path = self.folder / f"{self.prefix}{number}_sparse_{iteration}.model"
            path.mkdir(exist_ok=True)
            table.keys.astype("<i8").tofile(path / "key")
            table.vectors.astype("<f4").tofile(path / "emb_vector")
            if table.slot_ids is not None:
                table.slot_ids.astype("<u8").tofile(path / "slot_id")
            paths.append(path)
        dense = self.folder / f"{self.prefix}_dense_{iteration}.model"
        dense.write_bytes(b"")
        return Weights(dense, paths)

    def compile(self, path: Path, level: int = 2, *, external: bool = False, **options: Any) -> Path:
        """An ONNX file of it."""
        options = {"check": False, "simplify": False, **options}
        hugectr2onnx.compile(self.graph, self.write(), level, **options).save(path, external=external)
        return path


def random_table(rows: int, width: int, *, seed: int = 0, spread: int | None = None, **others: Any) -> Table:
    """Keys in random order, out of `spread` numbers for each row; None: all numbers from 0 on, ascending."""
    generator = np.random.default_rng(seed)
    keys = np.arange(rows)
    if spread is not None:
        keys = generator.choice(rows * spread, rows, replace=False)
    return Table(keys, generator.normal(size=(rows, width)).astype(np.float32), **others)


def change_tensor(path: Path, name: str, change: Callable[[np.ndarray], None]) -> None:
    """Change an initializer of a model file, inside the model or beside it."""
    model = onnx.load(path, load_external_data=False)
    tensor = next(each for each in model.graph.initializer if each.name == name)
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        entries = {entry.key: entry.value for entry in tensor.external_data}
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
        place = path.parent / entries["location"]
        mapped = np.memmap(place, dtype, "r+", int(entries["offset"]), tuple(tensor.dims))
        change(mapped)
        mapped.flush()
        return
    array = numpy_helper.to_array(tensor).copy()
    change(array)
    tensor.CopyFrom(numpy_helper.from_array(array, name))
    onnx.save(model, path)
