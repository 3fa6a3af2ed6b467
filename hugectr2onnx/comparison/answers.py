"""Run each side on some inputs and collect the tensors that were asked for."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import onnx

from hugectr2onnx.backend.onnx.artifact import Artifact
from hugectr2onnx.backend.runtime import touched_rows
from hugectr2onnx.ir.types import Array


def run_file(artifact: Artifact, feeds: Mapping[str, Array], names: Collection[str]) -> dict[str, Array]:
    """Return tensors of an ONNX file by name, whether or not they are outputs of it."""
    model = onnx.ModelProto()
    model.CopyFrom(artifact.skeleton)
    public = {value.name for value in model.graph.output}
    # Without a type onnxruntime works it out.
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in public)
    inputs = {each.name for each in model.graph.input}
    own = {name: array for name, array in feeds.items() if name in inputs}
    answers = touched_rows.run_all(Artifact(model, artifact.tensors), [own])[0]
    return {name: answers[name] for name in names}
