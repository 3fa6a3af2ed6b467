"""`SplitScorer`: a split model as a function from a batch to predictions, as the one-file model is."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any

from hugectr2onnx.backend.onnx.onnx_file import EXPORTED_NAME
from hugectr2onnx.backend.runtime import sessions
from hugectr2onnx.errors import OptionError, StoreError
from hugectr2onnx.stores.closing import Closing
from hugectr2onnx.stores.lookup_client import LookupClient, Pinned
from hugectr2onnx.stores.record import VersionRecord
from hugectr2onnx.stores.store import VersionGoneError
from hugectr2onnx.stores.version_folder import VersionFolder

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class _Dense:
    """The dense part of one version."""

    version: str
    session: Any


class SplitScorer(Closing):
    """Predict with the folder of a split model: `scorer(batch)` gives the outputs by name for inputs by name.

    folder: as `export_split` wrote it. client: by default one on the folder's store, with the default settings. Each call
    takes one version for its rows and its dense part: the store's current one. threads: of a session.
    """

    def __init__(self, folder: str | os.PathLike[str], client: LookupClient | None = None, *, threads: int = 1) -> None:
        if threads < 1:
            raise OptionError(f"threads is {threads}; give 1 or more")
        self._folder = VersionFolder(folder)
        self._client = client if client is not None else _client_of(folder)
        self._threads = threads
        self._dense: _Dense | None = None
        self._lock = Lock()

    @property
    def client(self) -> LookupClient:
        """The client that fetches the rows."""
        return self._client

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
        """Return the outputs for one batch. Raises FeedError for inputs that do not fit, StoreError for missing rows."""
        return self._client.with_version(lambda pinned: self._run(pinned, batch))

    def _run(self, pinned: Pinned, batch: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
        session = self._session(pinned.record)
        wanted = {entry.name for entry in session.get_inputs()}
        found = pinned.dense_feeds(batch)
        return sessions.run(session, {name: array for name, array in found.items() if name in wanted})

    def _session(self, record: VersionRecord) -> Any:
        with self._lock:
            if self._dense is None or self._dense.version != record.version:
                self._dense = _Dense(record.version, self._open(record))
            return self._dense.session

    def _open(self, record: VersionRecord) -> Any:
        path = self._folder.folder_of(record.version) / EXPORTED_NAME
        if not path.is_file():
            # It may have been removed since the client took it: the next one is tried.
            raise VersionGoneError(
                f"the store has version {record.version}, and {self._folder.path} has no dense part of it: bring the folder "
                "up to date"
            )
        with open(path, "rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != record.model_sha256:
            raise StoreError(f"{path} is not the dense part that the rows of version {record.version} belong to")
        options = sessions.quiet_options()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        return sessions.open_session(path, options=options)

    def close(self) -> None:
        """Give back the session and the client."""
        self._dense = None
        self._client.close()


def _client_of(folder: str | os.PathLike[str]) -> LookupClient:
    from hugectr2onnx.stores.split_folder import open_store

    return LookupClient(open_store(folder))
