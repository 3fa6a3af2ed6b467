"""Data that models can learn something from: MovieLens-100k, and a click log with planted structure."""

from __future__ import annotations

import csv
import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.errors import BenchmarkError
from hugectr2onnx.ir.types import Array

VALIDATION_SHARE = 0.1
CLICK_SLOTS = (20_000, 50_000, 5_000, 2_000, 1_000, 500, 200, 100, 50, 50, 20, 20, 10, 10, 5, 3)
CLICK_DENSE = 8
LATENT = 4


@dataclass(frozen=True, eq=False)
class Clicks:
    """Samples: keys int64 [n, slots] from 0 on in each slot, dense float32 [n, d], labels float32 [n, 2]."""

    name: str
    keys: Array
    dense: Array
    labels: Array
    slot_sizes: Sequence[int]

    def split(self, seed: int = 0) -> tuple[Clicks, Clicks]:
        """(training, validation), at random."""
        order = np.random.default_rng(seed).permutation(len(self.keys))
        cut = int(len(order) * (1 - VALIDATION_SHARE))
        return self._rows(order[:cut]), self._rows(order[cut:])

    def _rows(self, rows: Array) -> Clicks:
        return Clicks(self.name, self.keys[rows], self.dense[rows], self.labels[rows], self.slot_sizes)


def movielens(folder: Path | None = None) -> Clicks:
    """MovieLens-100k: is a film rated 4 or 5 (and: 5) by a user. From the package recbole, which holds its tables."""
    folder = folder or _recbole() / "dataset_example" / "ml-100k"
    ratings, users, films = (_table(folder / f"ml-100k.{kind}") for kind in ("inter", "user", "item"))
    by_user = {row["user_id"]: row for row in users}
    by_film = {row["item_id"]: row for row in films}
    rows = [{**row, **by_user[row["user_id"]], **by_film[row["item_id"]]} for row in ratings]
    for row in rows:
        row["decade"] = row["release_year"][:3]
        row["genre"] = row["class"].split(" ")[0]
        row["area"] = row["zip_code"][:2]
    columns = ("user_id", "item_id", "gender", "occupation", "genre", "decade", "area")
    codes = [_codes([row[column] for row in rows]) for column in columns]
    age = np.array([float(row["age"]) for row in rows], np.float32) / 50
    year = np.array([float(row["release_year"] or 1990) if row["release_year"].isdigit() else 1990 for row in rows])
    rating = np.array([float(row["rating"]) for row in rows])
    dense = np.stack([age, (year - 1990) / 10, age * age, np.ones(len(rows))], axis=1).astype(np.float32)
    labels = np.stack([rating >= 4, rating >= 5], axis=1).astype(np.float32)
    keys = np.stack([each for each, _ in codes], axis=1)
    return Clicks("MovieLens-100k", keys, dense, labels, [size for _, size in codes])


def _recbole() -> Path:
    found = importlib.util.find_spec("recbole")
    if found is None or not found.origin:
        raise BenchmarkError("MovieLens-100k comes with recbole: pip install --no-deps recbole")
    return Path(found.origin).parent


def _table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        head, *rows = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
    names = [name.split(":")[0] for name in head]
    return [dict(zip(names, row, strict=True)) for row in rows]


def _codes(values: Sequence[str]) -> tuple[Array, int]:
    known, codes = np.unique(np.array(values), return_inverse=True)
    return codes.astype(np.int64), len(known)


def click_log(rows: int, seed: int = 7) -> Clicks:
    """Skewed keys whose effects, and products of pairs of slots, make the click together with the dense features."""
    random = np.random.default_rng(seed)
    keys = np.stack([np.minimum(random.zipf(1.2, rows) - 1, size - 1) for size in CLICK_SLOTS], axis=1).astype(np.int64)
    dense = random.lognormal(0, 0.7, (rows, CLICK_DENSE)).astype(np.float32)
    logits = np.stack([_planted(keys, dense, random) for _ in range(2)], axis=1)
    labels = (random.random(logits.shape) < 1 / (1 + np.exp(-logits))).astype(np.float32)
    return Clicks("clicks", keys, np.log1p(dense), labels, CLICK_SLOTS)


def _planted(keys: Array, dense: Array, random: np.random.Generator) -> Array:
    effects = sum(random.normal(0, 0.35, size)[keys[:, slot]] for slot, size in enumerate(CLICK_SLOTS))
    vectors = [random.normal(0, 0.6, (size, LATENT))[keys[:, slot]] for slot, size in enumerate(CLICK_SLOTS[:6])]
    pairs = sum((vectors[a] * vectors[b]).sum(axis=1) for a, b in ((0, 1), (0, 2), (1, 3), (4, 5)))
    bent = np.sin(2 * dense[:, 0]) * 0.8 + np.log1p(dense[:, 1] * dense[:, 2]) * 0.6
    return np.asarray(effects + pairs + bent - 2.0)


def feeds(clicks: Clicks, slots: int, offsets: Array, dense: bool) -> Mapping[str, Array]:
    """The inputs of a model that reads the first slots."""
    keys = (clicks.keys[:, :slots] + offsets[None, :slots])[:, :, None]
    return {"keys": np.ascontiguousarray(keys), **({"dense": clicks.dense} if dense else {})}
