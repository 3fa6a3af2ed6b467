"""`Scorer`: a converted model as a function from a batch to predictions, which processes and engines can send around."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hugectr2onnx.errors import FeedError
from hugectr2onnx.ir.given_feeds import OFFSETS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hugectr2onnx.backend.saving.key_file import KeyMapper


class Scorer:
    """Predict with an ONNX file: `scorer(batch)` gives the outputs by name for inputs by name.

    Only the path and the settings are pickled; a session is opened at the first call in each process, with tables mapped
    where they lie. A model that takes rows in the place of keys (`keys="indices"`) is fed keys too: they are looked up in the
    key maps beside it. threads: of one session. outputs: those that are wanted, all by default.
    """

    def __init__(
        self, model: str | os.PathLike[str], *, threads: int = 1, outputs: Sequence[str] | None = None
    ) -> None:
        if not isinstance(model, str | os.PathLike):
            raise TypeError(
                f"a Scorer takes the path of an ONNX file, not a {type(model).__name__}: save the model first"
            )
        if threads < 1:
            raise FeedError(f"threads is {threads}; give 1 or more")
        self.path = os.path.realpath(model)
        self.threads = threads
        self.outputs = None if outputs is None else tuple(outputs)
        self._session: Any = None
        self._mappers: dict[str, KeyMapper] = {}

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
        """Return the outputs for one batch. Raises FeedError for inputs that are missing or do not fit."""
        from hugectr2onnx.backend.runtime import sessions

        session = self.session
        mapped = {
            name: mapper.rows(batch[name], batch.get(f"{name}{OFFSETS}"))
            for name, mapper in self._mappers.items()
            if name in batch
        }
        return sessions.run(session, {**batch, **mapped} if mapped else batch, self.outputs)

    def nothing(self) -> dict[str, NDArray[Any]]:
        """Return the outputs for no samples: [0, columns] by name."""
        import numpy as np

        wanted = [each for each in self.session.get_outputs() if self.outputs is None or each.name in self.outputs]
        return {
            each.name: np.empty((0, *(size if isinstance(size, int) else 0 for size in each.shape[1:])), np.float32)
            for each in wanted
        }

    @property
    def session(self) -> Any:
        """The `onnxruntime.InferenceSession`, opened when it is first asked for."""
        if self._session is None:
            from hugectr2onnx.backend.runtime import sessions

            options = sessions.quiet_options()
            options.intra_op_num_threads = self.threads
            options.inter_op_num_threads = 1
            # A pool that spins between batches takes the core that reads the next one.
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
            opened = sessions.open_session(self.path, options=options)
            self._mappers = _mappers(self.path, opened)
            self._session = opened
        return self._session

    @property
    def takes_rows(self) -> bool:
        """Whether the model takes rows in the place of keys, which are looked up in key maps beside it."""
        return self.session is not None and bool(self._mappers)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_session": None, "_mappers": {}}

    def __repr__(self) -> str:
        return f"<Scorer {self.path}, {self.threads} thread{'s' if self.threads > 1 else ''}>"


def _mappers(path: str, session: Any) -> dict[str, KeyMapper]:
    """Return the key maps of inputs that take rows."""
    from hugectr2onnx.backend.saving.key_file import KEYS_METADATA, KeyMapper

    named = session.get_modelmeta().custom_metadata_map
    inputs = [key.removeprefix(KEYS_METADATA) for key in named if key.startswith(KEYS_METADATA)]
    return {name: KeyMapper.open(path, name) for name in inputs}
