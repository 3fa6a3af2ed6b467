"""The folder of a split model: `split.json` says where its rows are, `versions/` holds the dense parts."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hugectr2onnx.backend.saving.replace_file import replace_file
from hugectr2onnx.errors import OptionError, StoreError
from hugectr2onnx.stores.file_store import FileStore
from hugectr2onnx.stores.redis_nodes import Address, RedisNodes, without_password
from hugectr2onnx.stores.store import RowStore
from hugectr2onnx.stores.version_folder import VersionFolder

NAME, FORMAT = "split.json", "hugectr2onnx.split-folder"
KINDS = ("parquet", "rocksdb", "redis")
DEFAULT_PREFIX = "split"
STORE_TIMEOUT = 1.0
"""Seconds that one attempt to reach a server may take."""


@dataclass(frozen=True)
class StoreAddress:
    """The place of rows. `addresses` (HOST:PORT) and `prefix` are those of Redis; other kinds lie in the folder itself."""

    kind: str
    addresses: tuple[str, ...] = ()
    prefix: str = DEFAULT_PREFIX

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise OptionError(f"there is no store {self.kind[:40]!r}: give {', '.join(KINDS)}", option="store")
        if self.kind == "redis" and not self.addresses:
            raise OptionError("no Redis node is named: give the address of one or more", option="addresses")
        if self.kind != "redis" and self.addresses:
            raise OptionError(f"a {self.kind} store lies in the folder and has no address", option="addresses")

    def open(self, folder: VersionFolder, *, timeout: float = STORE_TIMEOUT) -> RowStore:
        """Return the store. Raises UnsupportedError where its package is not installed."""
        if not timeout > 0:
            raise OptionError(f"timeout is {timeout}; it is a number of seconds above 0", option="timeout")
        if self.kind == "redis":
            from hugectr2onnx.stores.redis_store import RedisStore

            return RedisStore(
                RedisNodes([Address.parse(each) for each in self.addresses], timeout=timeout), self.prefix
            )
        if self.kind == "rocksdb":
            from hugectr2onnx.stores.rocksdb_files import RocksDbFiles, rocksdict

            rocksdict()
            return FileStore(folder, RocksDbFiles())
        from hugectr2onnx.stores.parquet_files import ParquetFiles, parquet

        parquet()
        return FileStore(folder, ParquetFiles())


def open_store(
    folder: str | os.PathLike[str], *, addresses: str | Sequence[str] = (), timeout: float = STORE_TIMEOUT
) -> RowStore:
    """Return the store of a folder that `export_split` wrote. Raises StoreError for any other folder.

    addresses: of Redis, in the place of those that the export had, such as with a user and a password. timeout: seconds that
    one attempt to reach a server may take.
    """
    address, others = read_address(folder), addresses_of(addresses)
    return (replace(address, addresses=others) if others else address).open(VersionFolder(folder), timeout=timeout)


def read_address(folder: str | os.PathLike[str]) -> StoreAddress:
    """Tell where the rows of a folder are. Raises StoreError."""
    path = Path(folder) / NAME
    try:
        with open(path, encoding="utf-8") as file:
            plain = json.loads(file.read(1 << 20))
        if plain.get("format") != FORMAT:
            raise ValueError("it is of another program")
        store = plain["store"]
        return StoreAddress(store["kind"], tuple(map(str, store["addresses"])), str(store["prefix"]))
    except FileNotFoundError as error:
        raise StoreError(f"{folder} is not the folder of a split model: it has no {NAME}") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise StoreError(f"{path} cannot be used: {error}") from error


def keep_address(folder: VersionFolder, address: StoreAddress) -> None:
    """Write `split.json`, or compare it: the versions of a folder are all in one store. Raises OptionError."""
    # Passwords stay out of the file.
    address = replace(address, addresses=tuple(map(without_password, address.addresses)))
    if (folder.path / NAME).exists():
        known = read_address(folder.path)
        if (known.kind, known.prefix) != (address.kind, address.prefix):
            raise OptionError(
                f"{folder.path} holds versions whose rows are in {known.kind}, under the prefix {known.prefix}: choose another "
                "folder",
                option="store",
            )
        if known.addresses == address.addresses:
            return
    replace_file(folder.path / NAME, _text(address).encode(), is_own=lambda head: FORMAT.encode() in head)


def _text(address: StoreAddress) -> str:
    store: dict[str, Any] = {"kind": address.kind, "addresses": list(address.addresses), "prefix": address.prefix}
    return json.dumps({"format": FORMAT, "store": store}, indent=1) + "\n"


def addresses_of(text: str | Sequence[str]) -> tuple[str, ...]:
    """Addresses with commas between them, or a list of them."""
    parts = text.split(",") if isinstance(text, str) else text
    return tuple(part.strip() for part in parts if part.strip())
