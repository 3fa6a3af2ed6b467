"""Find the files that hold a model's weights: as given, or in a snapshot folder (formats 5)."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Integral
from pathlib import Path

from hugectr2onnx.errors import Setting, WeightsError
from hugectr2onnx.frontend.foreign_files import foreign_kind
from hugectr2onnx.frontend.graph_json.fields import shown
from hugectr2onnx.frontend.graph_json.json_text import StrPath
from hugectr2onnx.tables.regular_file import reason

_DENSE = re.compile(r"(?P<prefix>.*)_dense_(?P<iteration>[0-9]+)\.model", re.DOTALL)
_OPTIMIZER = re.compile(r"(?P<prefix>.*)_opt_(?P<kind>dense|sparse)_(?P<iteration>[0-9]+)\.model", re.DOTALL)
_TABLE = re.compile(r"(?P<index>0|[1-9][0-9]*)_sparse_(?P<iteration>[0-9]+)\.model")
_ACCEPTED = "give a snapshot folder, a dense file, or each of the files"


@dataclass(frozen=True)
class Weights:
    """The files of one model: `sparse` has one table for each embedding layer, in JSON order.

    Paths become `Path`s; one path stands for a list of one table. `key_bytes` (4 or 8) is needed only for single-file
    tables of v2.x and v3.0 that can be read both ways.
    """

    dense: StrPath | None = None
    sparse: Sequence[StrPath] | StrPath = ()
    ntp: StrPath | None = None
    key_bytes: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "dense", _optional_path(self.dense, "dense"))
        object.__setattr__(self, "sparse", _paths(self.sparse))
        object.__setattr__(self, "ntp", _optional_path(self.ntp, "ntp"))
        if self.key_bytes is not None and (not isinstance(self.key_bytes, Integral) or self.key_bytes not in (4, 8)):
            raise WeightsError(f"key_bytes is {shown(self.key_bytes)}; keys have 4 or 8 bytes")

    @property
    def tables(self) -> tuple[Path, ...]:
        """`sparse` as paths."""
        return _paths(self.sparse)

    @classmethod
    def discover(cls, folder: StrPath, prefix: str | None = None, iteration: int | None = None) -> Weights:
        """Return the files that one snapshot left in a folder.

        Of several iterations the last is taken unless told; several prefixes, gaps in the tables' numbers and an absent
        dense file raise WeightsError. Optimizer files are ignored.
        """
        folder, prefix = _joined(_path(folder, "the snapshot folder"), prefix)
        names = _names(folder)
        snapshots = _snapshots(names)
        found = _Snapshot(folder, names, _choose_prefix(folder, names, snapshots, prefix), snapshots)
        number = found.choose(iteration)
        return with_ntp(cls(folder / found.dense[number], found.tables(number)))


WeightsLike = Weights | StrPath | Mapping[str, object]
"""What names the weights of a model: a snapshot folder, a dense file, Weights, or a mapping with the keys of Weights."""


def resolve(weights: object) -> Weights:
    """Return the Weights that `weights` stands for; an ntp file beside the dense file is found by its name.

    Accepts Weights, a mapping with the keys dense, sparse, ntp, a snapshot folder, or a dense file (whose tables are
    those of the same prefix and iteration). Raises WeightsError for anything else.
    """
    if isinstance(weights, Weights):
        return with_ntp(weights)
    if isinstance(weights, Mapping):
        return with_ntp(_from_mapping(weights))
    if not isinstance(weights, str | os.PathLike):
        raise WeightsError(f"the weights are {shown(weights)}; {_ACCEPTED}")
    path = _path(weights, "the weights")
    try:
        is_folder, found = path.is_dir(), path.exists()
    except (OSError, ValueError) as failure:
        raise WeightsError(f"{path}: cannot be read: {reason(failure)}") from None
    if is_folder:
        return Weights.discover(path)
    if not found:
        raise WeightsError(f"{path}: no such file or folder; {_ACCEPTED}")
    return _beside(path)


def iterations_in(folder: StrPath) -> dict[str, tuple[int, ...]]:
    """Return the iterations of each model in a folder, by prefix. Raises WeightsError where it cannot be read."""
    path = _path(folder, "the snapshot folder")
    names = _names(path)
    prefixes = _snapshots(names)
    return {prefix: tuple(sorted(_Snapshot(path, names, prefix, prefixes).dense)) for prefix in prefixes}


def with_ntp(weights: Weights) -> Weights:
    """Return the same files, and the ntp file that lies beside the dense file where none was named."""
    if weights.ntp is not None or weights.dense is None:
        return weights
    beside = Path(f"{os.fspath(weights.dense)}.ntp.json")
    try:
        return replace(weights, ntp=beside) if os.path.lexists(beside) else weights
    except (OSError, ValueError):
        # The dense file cannot be reached either, and opening it gives the reason.
        return weights


def _from_mapping(weights: Mapping[object, object]) -> Weights:
    known = ("dense", "sparse", "ntp", "key_bytes")
    unknown = [str(key) for key in weights if key not in known]
    if unknown:
        raise WeightsError(f"the weights have the unknown key {', '.join(unknown)[:200]}; {_ACCEPTED}")
    given = {str(key): value for key, value in weights.items() if value is not None}
    return Weights(**given)  # type: ignore[arg-type]


def _beside(dense: Path) -> Weights:
    """Return a dense file with HugeCTR's name stands for its snapshot, any other for itself."""
    match = _DENSE.fullmatch(dense.name)
    if match is None or match["prefix"].endswith("_opt"):
        return with_ntp(Weights(dense))
    found = Weights.discover(dense.parent, match["prefix"], int(match["iteration"]))
    return with_ntp(replace(found, dense=dense, ntp=None))


def _path(value: object, what: str) -> Path:
    if not isinstance(value, str | os.PathLike) or not isinstance(os.fspath(value), str):
        raise WeightsError(f"{what} is {shown(value)}, expected a path; {_ACCEPTED}")
    if "\0" in (text := os.fspath(value)):
        raise WeightsError(f"{what} is {text[:60]!r}, which no file can be named")
    return Path(text)


def _optional_path(value: object, what: str) -> Path | None:
    return None if value is None else _path(value, what)


def _paths(value: object) -> tuple[Path, ...]:
    if value is None:
        return ()
    if isinstance(value, str | os.PathLike):
        return (_path(value, "sparse"),)
    if not isinstance(value, Sequence) or isinstance(value, bytes | bytearray):
        raise WeightsError(f"sparse is {shown(value)}, expected a list of paths; {_ACCEPTED}")
    return tuple(_path(item, f"sparse[{index}]") for index, item in enumerate(value))


def _joined(folder: Path, prefix: str | None) -> tuple[Path, str | None]:
    """HugeCTR's prefix may begin with a folder."""
    if prefix is None:
        return folder, None
    if not isinstance(prefix, str) or "\0" in prefix:
        raise WeightsError(f"the prefix is {shown(prefix)}, expected the beginning of a file name")
    head, tail = os.path.split(prefix)
    return folder / head, tail


def _names(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except FileNotFoundError:
        raise WeightsError(f"{folder}: no such folder") from None
    except (OSError, ValueError) as failure:
        raise WeightsError(f"{folder}: cannot be read: {reason(failure)}") from None


def _snapshots(names: Sequence[str]) -> list[str]:
    """Return the prefixes of the dense files, without those of the optimizer's state."""
    matches = (_DENSE.fullmatch(name) for name in names)
    return sorted({match["prefix"] for match in matches if match and not match["prefix"].endswith("_opt")})


def _choose_prefix(folder: Path, names: Sequence[str], prefixes: Sequence[str], wanted: str | None) -> str:
    if wanted is not None:
        return wanted
    if len(prefixes) == 1:
        return prefixes[0]
    if prefixes:
        listed = ", ".join(f'"{prefix}"' for prefix in prefixes)[:500]
        raise WeightsError(
            f"{folder}: holds the snapshots of {len(prefixes)} models, with the prefixes {listed}; choose one with ",
            Setting("prefix"),
            ", or give the path of its dense file",
        )
    packed = next((name for name in names if ".model." in name and foreign_kind(folder / name)), None)
    if packed is not None:
        raise WeightsError(f"{folder}: no dense file PREFIX_dense_N.model; {packed} is {foreign_kind(folder / packed)}")
    hint = " It is an embedding table itself: give the folder that it lies in." if "emb_vector" in names else ""
    raise WeightsError(f"{folder}: no dense file PREFIX_dense_N.model among {len(names)} entries.{hint} {_ACCEPTED}")


class _Snapshot:
    """The files of one prefix in a folder; those of a prefix such as "model2" are not table 2 of "model"."""

    def __init__(self, folder: Path, names: Sequence[str], prefix: str, prefixes: Sequence[str]) -> None:
        self.folder, self.prefix = folder, prefix
        matches = (_DENSE.fullmatch(name) for name in names)
        self.dense = {int(match["iteration"]): match[0] for match in matches if match and match["prefix"] == prefix}
        longer = [other for other in prefixes if other.startswith(prefix) and other != prefix]
        foreign = {name for other in longer for name in names if _table_of(name, other)}
        self._found: dict[int, dict[int, str]] = {}
        """Iteration -> number of a table -> its name."""
        self._with_foreign: dict[int, dict[int, str]] = {}
        for name in names:
            match = _table_of(name, prefix)
            if match is not None:
                iteration, index = int(match["iteration"]), int(match["index"])
                self._with_foreign.setdefault(iteration, {})[index] = name
                if name not in foreign:
                    self._found.setdefault(iteration, {})[index] = name

    def choose(self, wanted: int | None) -> int:
        """Return the iteration: as wanted, else the last one that left any file."""
        if not self.dense:
            raise WeightsError(f'{self.folder}: no dense file "{self.prefix}_dense_N.model"')
        number = max([*self.dense, *self._found]) if wanted is None else wanted
        if number in self.dense:
            return number
        if wanted is None:
            raise self._incomplete(number, f"{self.prefix}_dense_{number}.model")
        there = ", ".join(map(str, sorted(self.dense)))[:500]
        raise WeightsError(
            f'{self.folder}: no "{self.prefix}_dense_{wanted}.model"; there are the iterations {there}',
            option="iteration",
        )

    def tables(self, number: int) -> tuple[Path, ...]:
        """Return the tables of an iteration in the order of their numbers. Raises WeightsError where one is missing."""
        tables = self._of(number)
        expected = max(max(tables, default=-1) + 1, *(len(self._of(each)) for each in self.dense))
        missing = [index for index in range(expected) if index not in tables]
        if missing:
            raise self._incomplete(number, f"{self.prefix}{missing[0]}_sparse_{number}.model")
        if not tables and self._found:
            other = self._found[min(self._found)]
            raise WeightsError(
                f"{self.folder}: the dense file is of iteration {number}, the tables are of another ({other[min(other)]}); the "
                "snapshot is incomplete"
            )
        return tuple(self.folder / tables[index] for index in sorted(tables))

    def _of(self, number: int) -> dict[int, str]:
        """Its tables; those of a longer prefix only where they fill a gap."""
        own = self._found.get(number, {})
        return own if sorted(own) == list(range(len(own))) else self._with_foreign.get(number, {})

    def _incomplete(self, number: int, missing: str) -> WeightsError:
        most = max(len(self._of(each)) for each in self.dense)
        whole = [each for each in sorted(self.dense) if sorted(self._of(each)) == list(range(most)) and each != number]
        problem = f"{self.folder}: iteration {number} is incomplete: {missing} is missing"
        if not whole:
            return WeightsError(
                f"{problem}, and no other iteration is whole; copy the whole snapshot", option="iteration"
            )
        listed = ", ".join(map(str, whole))[:500]
        return WeightsError(f"{problem}; whole iterations: {listed}; give ", Setting("iteration", whole[-1]))


def _table_of(name: str, prefix: str) -> re.Match[str] | None:
    return _TABLE.fullmatch(name.removeprefix(prefix)) if name.startswith(prefix) else None


def missing_table(weights: Weights) -> str | None:
    """Return the name of the table that would come after the given ones; None where the dense file has no name of HugeCTR's."""
    match = _DENSE.fullmatch(Path(weights.dense).name) if weights.dense is not None else None
    return f"{match['prefix']}{len(weights.tables)}_sparse_{match['iteration']}.model" if match else None


def refuse_optimizer_file(path: Path) -> None:
    """Raise WeightsError for a file with the name of an optimizer's state, which may have the size of the weights."""
    if match := _OPTIMIZER.fullmatch(path.name):
        wanted = f"{match['prefix']}_{match['kind']}_{match['iteration']}.model"
        raise WeightsError(
            f"{path}: is the state of the optimizer by its name, not the weights: give {wanted} (or give the file another name)"
        )
