"""Running a model whose tables are larger than anyone wants in memory, on the rows that it reads.

The model's large tables lie in a file that is all hole. The part of the model that works out the row numbers of its gathers
is run alone, the rows that it asked for are written into their places, and so on until it asks for nothing new; then the
whole model is run. Nothing of the model is changed: the maps from key to row are proven as they are, on a table of full size,
of which the rows that matter are there. To read a hole is slow, for the system reads megabytes of it ahead.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper

from hugectr2onnx.backend.onnx.artifact import Artifact, Blob, located_tensor
from hugectr2onnx.backend.onnx.protobuf_stream import without
from hugectr2onnx.backend.runtime import sessions
from hugectr2onnx.backend.runtime.temporary_folder import TemporaryFolder
from hugectr2onnx.errors import CompilerError, OutputError, Setting
from hugectr2onnx.ir.types import Array

_LARGE_TABLE = 16 << 20
"""Bytes of a model from which on bringing its tables into a session takes longer than the files and rounds here."""
MIN_TABLE = 1 << 20
_MAX_ROUNDS = 16
_ALIGNMENT = 4096
_TABLES = "tables"


def run_all(
    artifact: Artifact, feeds: Sequence[Mapping[str, Array]], *, large: int = _LARGE_TABLE
) -> list[dict[str, Array]]:
    """Return the model's answers to each feed, on one thread; raises CompilerError for a model that onnxruntime rejects."""
    tables = _tables(artifact) if artifact.nbytes > large else {}
    if not tables:
        session = sessions.session(artifact, options=_single_thread())
        return [sessions.run(session, each) for each in feeds]
    try:
        with TemporaryFolder() as folder:
            return _Run(artifact, tables, folder.path).answers(feeds)
    except OSError as error:
        raise OutputError(
            f"cannot check the model in {tempfile.gettempdir()}: {error.strerror or error}; set TMPDIR to a folder whose "
            "file system has room, or compile with ",
            Setting("check", False),
        ) from error


def _tables(artifact: Artifact) -> dict[str, Blob]:
    """Return the large tensors that are only ever gathered from by row."""
    uses = [(node, slot, name) for node in artifact.skeleton.graph.node for slot, name in enumerate(node.input)]
    other = {name for node, slot, name in uses if not (_is_gather(node) and slot == 0)}
    return {name: blob for name, blob in artifact.tensors.items() if blob.nbytes >= MIN_TABLE and name not in other}


def _is_gather(node: onnx.NodeProto) -> bool:
    return node.op_type == "Gather" and all(
        attribute.i == 0 for attribute in node.attribute if attribute.name == "axis"
    )


class _Run:
    """A model in a folder of its own, with its tables in one file of holes."""

    def __init__(self, artifact: Artifact, tables: Mapping[str, Blob], folder: Path):
        self.artifact = artifact
        self.tables = tables
        self.folder = folder
        self.gathers = [
            (n.input[0], n.input[1]) for n in artifact.skeleton.graph.node if n.input[:1] and n.input[0] in tables
        ]
        self.filled = {name: np.empty(0, np.int64) for name in tables}
        self.offsets: dict[str, int] = {}
        self.located: dict[str, onnx.TensorProto] = {}
        self._lay_out()

    def answers(self, feeds: Sequence[Mapping[str, Array]]) -> list[dict[str, Array]]:
        """Tell what the model answers once it asks for no row that is not there."""
        probe = self._write("probe.onnx", rows_of(self.artifact, [index for _, index in self.gathers]))
        for _ in range(_MAX_ROUNDS):
            session = sessions.open_session(probe, options=_single_thread())
            asked = [sessions.run(session, each) | dict(each) for each in feeds]
            if not sum(self._fill(table, [found[index] for found in asked]) for table, index in self.gathers):
                session = sessions.open_session(self._write("model.onnx", self.artifact), options=_single_thread())
                return [sessions.run(session, each) for each in feeds]
        raise CompilerError("the model asks for other rows each time it runs")

    def _lay_out(self) -> None:
        end = 0
        for name, blob in self.tables.items():
            self.offsets[name] = end
            end += -(-blob.nbytes // _ALIGNMENT) * _ALIGNMENT
        with open(self.folder / _TABLES, "wb") as file:
            file.truncate(end)
        self.located = {
            tensor.name: located_tensor(tensor, _TABLES, self.offsets[tensor.name], self.tables[tensor.name].nbytes)
            for tensor in self.artifact.skeleton.graph.initializer
            if tensor.name in self.tables
        }

    def _fill(self, table: str, indices: Sequence[Array]) -> int:
        """Write the rows that are not there yet; returns how many."""
        blob = self.tables[table]
        asked = np.unique(np.concatenate([index.reshape(-1) for index in indices]).astype(np.int64) % blob.shape[0])
        new = np.setdiff1d(asked, self.filled[table], assume_unique=True)
        rows = np.ascontiguousarray(blob.rows(new), blob.dtype.newbyteorder("<"))
        with open(self.folder / _TABLES, "r+b", buffering=0) as file:
            for number, row in zip(new.tolist(), rows, strict=True):
                file.seek(self.offsets[table] + number * row.nbytes)
                file.write(row.tobytes())
        self.filled[table] = np.union1d(self.filled[table], new)
        return len(new)

    def _write(self, name: str, artifact: Artifact) -> Path:
        path = self.folder / name
        with open(path, "wb") as file:
            file.writelines(artifact.stream(self.located))
        return path


def rows_of(artifact: Artifact, indices: Sequence[str]) -> Artifact:
    """Return the part of a model that works out some of its tensors, as its outputs; those that are inputs need no work."""
    graph, wanted, nodes = artifact.skeleton.graph, set(indices), []
    for node in reversed(graph.node):
        if wanted.intersection(node.output):
            wanted.update(node.input)
            nodes.append(node)
    made = {tensor for node in nodes for tensor in node.output}
    model = onnx.ModelProto()
    model.CopyFrom(without(artifact.skeleton, "graph"))
    model.graph.CopyFrom(without(graph, "node", "initializer", "output"))
    model.graph.node.extend(reversed(nodes))
    model.graph.initializer.extend(tensor for tensor in graph.initializer if tensor.name in wanted)
    model.graph.output.extend(
        helper.make_empty_tensor_value_info(name) for name in dict.fromkeys(indices) if name in made
    )
    return Artifact(model, {name: blob for name, blob in artifact.tensors.items() if name in wanted})


def _single_thread() -> Any:
    options = sessions.quiet_options()
    options.intra_op_num_threads = 1
    return options
