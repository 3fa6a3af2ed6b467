"""A model that `bench` can open any number of times, on onnxruntime or on OpenVINO."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from hugectr2onnx.backend.onnx.artifact import Artifact
from hugectr2onnx.backend.onnx.onnx_file import as_artifact, read_model
from hugectr2onnx.backend.runtime import sessions
from hugectr2onnx.backend.saving.writable import output_errors
from hugectr2onnx.errors import FeedError
from hugectr2onnx.ir.types import Array
from hugectr2onnx.latency import turns
from hugectr2onnx.latency.bound_calls import BoundCalls, Feed, Settings
from hugectr2onnx.latency.matching import Wanted, adapt, match, wanted_inputs
from hugectr2onnx.latency.openvino_calls import RUNTIME, OpenVINOCalls
from hugectr2onnx.latency.profile import Profile, profile


@dataclass(frozen=True, eq=False)
class MeasuredFile:
    """A model that can be opened any number of times."""

    name: str
    model: Any
    artifact: Artifact
    bytes: int

    @staticmethod
    def open(given: Any, name: str) -> MeasuredFile:
        artifact = getattr(given, "artifact", None)
        if artifact is not None:
            return MeasuredFile(name, given, artifact, artifact.nbytes)
        artifact = as_artifact(read_model(given), given)
        return MeasuredFile(name, given, artifact, Path(given).stat().st_size)

    @property
    def nodes(self) -> int:
        return len(self.artifact.skeleton.graph.node)

    def session(self, options: Any) -> Any:
        if hasattr(self.model, "artifact"):
            return sessions.session(self.artifact, options=options)
        return sessions.open_session(self.model, options=options)

    @cached_property
    def wanted(self) -> list[Wanted]:
        return wanted_inputs(self.session(Settings(optimization="none").options()), self.name)

    def adapted(self, feed: Feed) -> Feed:
        """Return a feed of the first file under the names and in the types of this one. Raises FeedError."""
        return adapt(self.wanted, match(self.wanted, feed, self.name), feed)

    def answers(self, feed: Feed) -> dict[str, Array]:
        """Return the outputs for a feed of this file. Raises FeedError that names the file."""
        try:
            return sessions.run(self.session(Settings().options()), feed)
        except FeedError as error:
            raise FeedError(f"{self.name}: {error}. Does it lack keys that the first file knows?") from error

    def calls(self, settings: Settings, feeds: Sequence[Feed]) -> turns.Calls:
        """Open the model and return a call for each feed of the first file."""
        return BoundCalls(self.session(settings.options()), [self.adapted(feed) for feed in feeds]).calls()

    def profile(self, settings: Settings, feeds: Sequence[Feed], calls: int) -> Profile | None:
        with output_errors(tempfile.gettempdir()):
            return profile(self.session, [self.adapted(feed) for feed in feeds], settings, calls)


class OnOpenVINO(MeasuredFile):
    """The same model on OpenVINO, which tells no time by operator."""

    @staticmethod
    def of(file: MeasuredFile) -> OnOpenVINO:
        """Raises UnsupportedError where OpenVINO is not installed, or cannot read the model."""
        found = OnOpenVINO(f"{file.name} on {RUNTIME}", file.model, file.artifact, file.bytes)
        _ = found._compiled
        return found

    @cached_property
    def _compiled(self) -> OpenVINOCalls:
        """The model for one thread, compiled once for all answers."""
        return self._opened(1)

    def _opened(self, threads: int) -> OpenVINOCalls:
        return OpenVINOCalls(self.artifact if hasattr(self.model, "artifact") else os.fspath(self.model), threads)

    def answers(self, feed: Feed) -> dict[str, Array]:
        try:
            return self._compiled.answers(feed)
        except FeedError as error:
            raise FeedError(f"{self.name}: {error}") from error

    def calls(self, settings: Settings, feeds: Sequence[Feed]) -> turns.Calls:
        return self._opened(settings.threads).calls([self.adapted(feed) for feed in feeds])

    def profile(self, settings: Settings, feeds: Sequence[Feed], calls: int) -> Profile | None:
        return None
