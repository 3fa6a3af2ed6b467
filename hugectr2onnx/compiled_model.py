"""The result of a compilation."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from hugectr2onnx.backend.onnx.artifact import Artifact
from hugectr2onnx.backend.runtime import sessions
from hugectr2onnx.backend.saving.key_file import KeyFile
from hugectr2onnx.backend.saving.manifest import FileRecord
from hugectr2onnx.backend.saving.save import save
from hugectr2onnx.errors import WeightsError
from hugectr2onnx.frontend.weights.source_files import SourceFile
from hugectr2onnx.ir.given_feeds import InputForm, normalize_feeds
from hugectr2onnx.ir.given_requests import RequestCheck, check_request, request_checks
from hugectr2onnx.ir.graph import Graph
from hugectr2onnx.report import Report, html_table

if TYPE_CHECKING:
    import onnx
    import onnxruntime
    from numpy.typing import ArrayLike, NDArray

    Feeds = Mapping[str, ArrayLike | Mapping[str, ArrayLike]]


class CompiledModel:
    """An ONNX model that was checked against its reference, with the report and the IR it came from."""

    def __init__(
        self,
        artifact: Artifact,
        ir: Graph,
        report: Report,
        labels: frozenset[str] = frozenset(),
        key_files: Sequence[KeyFile] = (),
        sources: Sequence[SourceFile] = (),
    ):
        self.artifact = artifact
        self.ir = ir
        self.report = report
        self.key_files = tuple(key_files)
        self.sources = tuple(sources)
        self._labels = labels

    @cached_property
    def model(self) -> onnx.ModelProto:
        """The model as one `onnx.ModelProto`, weights inside.

        Raises OutputError above protobuf's 2 GiB: `save` and `session` work at any size.
        """
        return self.artifact.inline()

    def save(
        self,
        path: str | os.PathLike[str],
        *,
        external: bool = False,
        shard_size: int | None = None,
        manifest: bool | None = None,
        progress: Callable[[int, int], None] | None = None,
        force: bool = False,
        earlier: str | os.PathLike[str] | None = None,
    ) -> tuple[FileRecord, ...]:
        """Write the model: whatever happens, the old one or the new one stands, whole. Returns what was written.

        Tensors above 1 MB go to `<path>.<id>.data` beside it once the model outgrows protobuf's limits; the id depends on the
        content, so that the data of a model that is open are never written again. external: from 1 kB on at any size, so
        that a model opens in milliseconds and its tables are mapped where they lie, not copied. shard_size: to several files
        `<path>.<id>.data-00001-of-00003` of so many bytes. `manifest.json` in the same folder then lists the files with their
        SHA-256 (manifest: True always, False never). Rows are read, put in order and written in one stream: a table need not
        fit in memory. Key maps of `keys="indices"` go to `<path>.<id>.<input>.keys`, and the model names them
        (`KeyMapper.open(path, input)`). earlier: a saved model of the same folder; tensors that it has already,
        byte for byte, are not written again but referred to where they lie. progress: called with the bytes written
        so far and in all.

        Data files and key maps of the model that stood there before go with the first save into the folder that comes a
        minute or more later (`hugectr2onnx.clean_folder` removes them at once): a reader of the old model may still be
        opening them. A file that is not a model of ours is replaced only with force. A symbolic link is followed, and
        everything lies where it points to: with data files, open that place (`os.path.realpath`), since onnxruntime looks
        for them beside the link. Raises OutputError, also for a path that is one of the model's own sources, and
        WeightsError where a source has become shorter since it was compiled.
        """
        with self.report.stage("write", None):
            return self._save(path, external, shard_size, manifest, progress, force, earlier)

    def _save(
        self,
        path: str | os.PathLike[str],
        external: bool,
        shard_size: int | None,
        manifest: bool | None,
        progress: Callable[[int, int], None] | None,
        force: bool,
        earlier: str | os.PathLike[str] | None,
    ) -> tuple[FileRecord, ...]:
        try:
            return save(
                self.artifact,
                path,
                external=external,
                shard_size=shard_size,
                checksums=manifest,
                progress=progress,
                key_files=self.key_files,
                facts=self.facts,
                sources=[source.path for source in self.sources],
                force=force,
                earlier=earlier,
            )
        except WeightsError as error:
            for source in self.sources:
                if source.is_shorter:
                    error.add_note(f"{source.path} had {source.size:,} bytes")
            raise

    def facts(self) -> dict[str, Any]:
        """Tell what a manifest says about the model beside its files; checksums of the sources that are no tables."""
        known = self.report.to_dict()
        hashed = {source.name: source.sha256() for source in self.sources if source.hashed}
        return {
            "metadata": {entry.key: entry.value for entry in self.artifact.skeleton.metadata_props},
            "sources": known["sources"],
            "sources_sha256": {name: checksum for name, checksum in hashed.items() if checksum is not None},
            "key_maps": known["key_maps"],
            "parity": known["parity"],
            "warnings": known["warnings"],
        }

    @cached_property
    def _session(self) -> onnxruntime.InferenceSession:
        return self.session()

    @cached_property
    def _request_checks(self) -> tuple[RequestCheck, ...]:
        return request_checks(self.ir)

    def session(self, options: onnxruntime.SessionOptions | None = None) -> onnxruntime.InferenceSession:
        """Return a new `onnxruntime.InferenceSession` that reads the tables where they lie."""
        return sessions.session(self.artifact, options=options)

    def run(self, feeds: Feeds) -> dict[str, NDArray[Any]]:
        """Run the model on inputs by name and return its outputs by name; labels among the feeds are ignored.

        An input is an array, a nested list, or a mapping or frame of its columns; numbers take the model's width, and an axis
        of length 1 may be left out (`ir.given_feeds.normalize_feeds` has the rules). Raises FeedError for inputs that are
        missing, unknown, of another kind or shape, or whose numbers of rows differ, and for offsets of keys that are none.
        """
        forms = {value.node.name: InputForm.of_type(value.type) for value in self.ir.inputs}
        arrays = normalize_feeds(forms, feeds, ignored=self._labels)
        check_request(self._request_checks, arrays)
        return sessions.run(self._session, arrays)

    def _repr_html_(self) -> str:
        """Return the interface and the report, for a notebook."""
        rows = [("input", value.node.name, value.type) for value in self.ir.inputs]
        rows += [("output", name, value.type) for name, value in self.ir.outputs.items()]
        return html_table(("", "name", "type"), rows) + self.report._repr_html_()

    def __repr__(self) -> str:
        inputs = ", ".join(f"{value.node.name}: {value.type}" for value in self.ir.inputs)
        outputs = ", ".join(f"{name}: {value.type}" for name, value in self.ir.outputs.items())
        return f"<CompiledModel ({inputs}) -> ({outputs}), {self.report.onnx_nodes} nodes>"
