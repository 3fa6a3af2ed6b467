"""`ServedModel`: the model that every server here runs."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from hugectr2onnx.datasets.schema import Schema, schema_of
from hugectr2onnx.errors import FeedError, OptionError
from hugectr2onnx.frontend.embeddings.interface import ALL_OFFSETS
from hugectr2onnx.ir.given_feeds import OFFSETS
from hugectr2onnx.ir.types import Array
from hugectr2onnx.scoring.scorer import Scorer
from hugectr2onnx.serving.key_offsets import check_samples
from hugectr2onnx.serving.known_keys import warm_up_feeds
from hugectr2onnx.serving.tensor_forms import TensorForm, datatype_of

PLATFORM = "onnxruntime_onnx"
VERSION = "1"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


class ServedModel:
    """A name, an ONNX file, and predictions for requests that fit it. Picklable; a session is opened at first use.

    Several threads may predict at once: they share one session and so one copy of the tables. threads: that one request
    may use.
    """

    def __init__(self, path: str | os.PathLike[str], name: str | None = None, *, threads: int = 1) -> None:
        self.path = Path(path)
        self.name = checked_name(self.path.stem if name is None else name)
        self.scorer = Scorer(path, threads=threads)

    @cached_property
    def inputs(self) -> tuple[TensorForm, ...]:
        return tuple(map(TensorForm.of_entry, self.scorer.session.get_inputs()))

    @cached_property
    def outputs(self) -> tuple[TensorForm, ...]:
        return tuple(map(TensorForm.of_entry, self.scorer.session.get_outputs()))

    @cached_property
    def schema(self) -> Schema:
        """Which input is which, as far as the model has padded inputs."""
        return schema_of(self.path)

    def metadata(self) -> dict[str, Any]:
        """Return the protocol's description of the model."""
        return {
            "name": self.name,
            "versions": [VERSION],
            "platform": PLATFORM,
            "inputs": [each.to_dict() for each in self.inputs],
            "outputs": [each.to_dict() for each in self.outputs],
        }

    def predict(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """Return the outputs by name. Raises FeedError, naming the input, for what does not fit the model."""
        return self.scorer(self.checked(arrays))

    def checked(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """Return the arrays as the session takes them. Raises FeedError."""
        forms = {form.name: form for form in self.inputs}
        missing, unknown = forms.keys() - arrays.keys(), arrays.keys() - forms.keys()
        if missing or unknown:
            faults = [f"lacks {', '.join(sorted(missing))}"] if missing else []
            faults += [f"has the unknown {', '.join(sorted(unknown))}"] if unknown else []
            listed = "; ".join(f"{name} {form}" for name, form in forms.items())
            raise FeedError(f"the request {' and '.join(faults)}; the model's inputs are: {listed}")
        for name, form in forms.items():
            form.check(datatype_of(arrays[name]), arrays[name].shape)
        taken = {
            name: arrays[name][0] if form.is_batch_of_one(arrays[name].shape) else arrays[name]
            for name, form in forms.items()
        }
        if self.interface != "padded":
            check_samples(self.schema, taken)
        return taken

    @cached_property
    def interface(self) -> str:
        """How keys come in: padded, csr or hugectr."""
        names = {form.name for form in self.inputs}
        if ALL_OFFSETS in names:
            return "hugectr"
        return "csr" if any(f"{name}{OFFSETS}" in names for name in names) else "padded"

    def rows_of(self, arrays: Mapping[str, Array]) -> int:
        """Tell how many samples a result has: the length of the first output."""
        first = arrays[self.outputs[0].name]
        return len(first) if first.ndim else 1

    def warm_up(self) -> None:
        """Open the session and predict once, with keys that the model has."""
        self.predict(warm_up_feeds(self.path, self.inputs))

    def mixes_rows(self) -> bool:
        """Tell whether a row's prediction depends on the rows beside it, as after a PReLU_Dice that is not frozen.

        Only for models whose inputs all begin with the batch.
        """
        generator = np.random.default_rng(0)
        many = warm_up_feeds(self.path, self.inputs, rows=8)
        for name, array in many.items():
            if array.dtype.kind == "f":
                many[name] = generator.normal(0, 1, array.shape).astype(array.dtype)
        some = {name: array[:3] for name, array in many.items()}
        whole, part = self.predict(many), self.predict(some)
        return any(not np.allclose(whole[name][:3], part[name], rtol=1e-4, atol=1e-5) for name in whole)


def checked_name(name: str) -> str:
    """Return a name that paths, URLs and Kubernetes' files can hold. Raises OptionError."""
    if not _NAME.fullmatch(name):
        raise OptionError(f"the name {name!r} of the model: use letters, digits, '.', '_' and '-'", option="name")
    return name
