"""The options of a model with the files that they name read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from hugectr2onnx.errors import FeedError
from hugectr2onnx.frontend.embeddings.embedding_collection import Collection, open_collection
from hugectr2onnx.frontend.weights.key_filter import digest, read_all
from hugectr2onnx.ir.types import Array
from hugectr2onnx.options import Options, recorded


@dataclass(frozen=True)
class ResolvedOptions:
    """Options beside what was read for them: the dump of an EmbeddingCollection, the keys to keep.

    `keep_keys` are ascending and each once, by embedding top; those of an opened collection's tables are among them.
    """

    options: Options = field(default_factory=Options)
    collection: Collection | None = None
    keep_keys: Mapping[str, Array] = field(default_factory=dict)

    def changed(self, **changes: Any) -> ResolvedOptions:
        """Return a copy with other options; what was read stays."""
        return replace(self, options=replace(self.options, **changes))

    def to_metadata(self) -> str:
        """Tell what a model records: digests in place of keys, look-ups in place of the folder of their dump."""
        return self.options.to_metadata({"embedding_collection": self._lookups(), "keep_keys": self._digests()})

    def check_keys_kept(self, metadata: str | None, where: str) -> None:
        """Raise FeedError unless the keys that a model was compiled with are given again.

        The model does not say which rows it lacks, so the reference cannot be made without them.
        """
        kept, wanted = self._digests(), recorded(metadata).get("keep_keys")
        wanted = wanted if isinstance(wanted, dict) else {}
        for top in [*wanted, *kept]:
            if wanted.get(top) != kept.get(top):
                raise FeedError(
                    f"{where}: was compiled with the keep_keys {wanted.get(top) or 'of none'} for {top}, not "
                    f"{kept.get(top) or 'none'}: give the same keep_keys again",
                    option="keep_keys",
                )

    def _digests(self) -> dict[str, str]:
        return {top: digest(keys) for top, keys in self.keep_keys.items()}

    def _lookups(self) -> list[dict[str, object]] | None:
        if self.collection is None:
            return None
        names = self.collection.names
        return [{**asdict(each), "tables": [names[id] for id in each.tables]} for each in self.collection.lookups]


def resolve_options(options: Options | None = None) -> ResolvedOptions:
    """Read the files that the options name. Raises GraphJsonError, WeightsError and UnsupportedError."""
    options = options or Options()
    kept = read_all(options.keep_keys)
    described = options.embedding_collection
    collection = open_collection(described, kept, options.padding_key) if described is not None else None
    return ResolvedOptions(options, collection, kept)
