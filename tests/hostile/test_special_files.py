"""A pipe, a folder, a socket or an endless device in the place of any file that the product opens: refused at once."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hugectr2onnx
from hugectr2onnx import HugeCTR2ONNXError
from hugectr2onnx.cli import main
from hugectr2onnx.frontend.weights.key_filter import read_keys
from tests.hostile.conftest import DENSE, DISTRIBUTED, LOCALIZED, NTP, Model

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs POSIX")

SECONDS = 10
KINDS = ("pipe", "folder", "socket", "zeros")


@dataclass(frozen=True)
class Place:
    """A model in a folder, and beside it the ONNX files `m.onnx` (with `m.onnx.*.data`) and `rows.onnx` (with key maps)."""

    model: Model
    folder: Path

    @property
    def graph(self) -> Path:
        return self.folder / "graph.json"

    @property
    def onnx(self) -> Path:
        return self.folder / "m.onnx"

    def beside(self, ending: str) -> Path:
        """The one file of an ending that was saved beside a model."""
        (found,) = self.folder.glob(f"*{ending}")
        return found

    def compile(self, **options: Any) -> Any:
        return self.model.compile(**{"graph": self.graph, **options})

    def read(self, data: Path, **options: Any) -> Any:
        return hugectr2onnx.predict(self.onnx, data, **options)

    def command(self, *arguments: object) -> None:
        """Run the command line, and raise what it reports in its own words."""
        code = main([str(each) for each in arguments])
        if code:
            raise HugeCTR2ONNXError(f"exit code {code}")

    def array(self, name: str = "good.npz") -> Path:
        """Samples in the form of the model's inputs."""
        path = self.folder / name
        np.savez(path, **self.model.feeds())
        return path


def put(path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put something that is not a regular file in a place."""
    path.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as server, monkeypatch.context() as patch:
            patch.chdir(path.parent)  # a socket's path has at most 107 bytes
            server.bind(path.name)
    else:
        path.symlink_to("/dev/zero")
    return path


@contextmanager
def at_once() -> Iterator[None]:
    """Raise TimeoutError in what takes longer than SECONDS."""

    def late(*_: object) -> None:
        raise TimeoutError(f"no answer after {SECONDS} seconds")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a `Place`, to be copied."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "snapshot").mkdir()
    model = Model(folder / "snapshot")
    model.compile().save(folder / "m.onnx", external=True)
    model.compile(keys="indices").save(folder / "rows.onnx", external=False)
    return folder


@pytest.fixture
def place(made: Path, tmp_path: Path) -> Place:
    shutil.copytree(made, tmp_path / "place")
    place = Place(Model(tmp_path / "place" / "snapshot"), tmp_path / "place")
    place.graph.write_text(json.dumps(place.model.graph))
    return place


Attack = Callable[[Place, Callable[[Path], Path]], object]
"""Put something in a place by the second argument, and read it."""


def of_the_source(name: str) -> dict[str, Attack]:
    """The verbs that read a file of a snapshot."""
    return {
        f"compile, {name}": lambda place, put: (put(place.model.path(name)), place.compile()),
        f"check, {name}": lambda place, put: (
            put(place.model.path(name)),
            place.command("check", place.graph, "--weights", place.model.folder),
        ),
        f"verify, {name}": lambda place, put: (
            put(place.model.path(name)),
            hugectr2onnx.verify(place.onnx, place.graph, place.model.folder),
        ),
    }


def of_a_data_set(name: str, **options: Any) -> dict[str, Attack]:
    """A data file as such, by its format, and named by a file list."""
    formats = list(dict.fromkeys([None, Path(name).suffix[1:] or None]))
    direct: dict[str, Attack] = {
        f"data {name} as {format}": lambda place, put, format=format: place.read(
            put(place.folder / name), format=format, **options
        )
        for format in formats
    }

    def listed(place: Place, put: Callable[[Path], Path]) -> None:
        put(place.folder / name)
        (place.folder / "list.txt").write_text(f"1\n{name}\n")
        place.read(place.folder / "list.txt", **options)

    return {**direct, f"data {name} of a list": listed}


ATTACKS: dict[str, Attack] = {
    **{key: attack for name in (DENSE, NTP, f"{DISTRIBUTED}/key", f"{DISTRIBUTED}/emb_vector", f"{LOCALIZED}/slot_id")
       for key, attack in of_the_source(name).items()},
    "compile, graph": lambda place, put: place.model.compile(graph=put(place.graph)),
    "compile, dense": lambda place, put: place.compile(weights=hugectr2onnx.Weights(put(place.folder / "d.model"))),
    "compile, ntp": lambda place, put: place.compile(
        weights=hugectr2onnx.Weights(place.model.path(DENSE), ntp=put(place.folder / "n.json"))
    ),
    "compile, description": lambda place, put: place.compile(embedding_collection=put(place.folder / "c.json")),
    "compile, keys": lambda place, put: place.compile(keep_keys={"emb1": put(place.folder / "keep.bin")}),
    "compile, keys.npy": lambda place, put: place.compile(keep_keys={"emb1": put(place.folder / "keep.npy")}),
    "keys of Parquet": lambda place, put: read_keys(f"{put(place.folder / 'keep.parquet')}::a", "keep_keys"),
    "compile, ps.json": lambda place, put: place.compile(default_embedding=str(put(place.folder / "ps.json"))),
    "compile, ps.json::MODEL": lambda place, put: place.compile(default_embedding=f"{put(place.folder / 'ps.json')}::a"),
    "command, layer attributes": lambda place, put: place.command(
        "compile", place.graph, "--weights", place.model.folder, "-o", place.folder / "o.onnx", "--layer-attrs",
        put(place.folder / "attrs.json"),
    ),
    "command, slot sizes": lambda place, put: place.command(
        "compile", place.graph, "--weights", place.model.folder, "-o", place.folder / "o.onnx", "--slot-size-array",
        put(place.folder / "sizes.json"),
    ),
    "command, options": lambda place, put: place.command(
        "compile", place.graph, "--weights", place.model.folder, "-o", place.folder / "o.onnx", "--options",
        put(place.folder / "options.json"),
    ),
    "command, samples": lambda place, put: place.command(
        "compile", place.graph, "--weights", place.model.folder, "-o", place.folder / "o.onnx", "--samples",
        put(place.folder / "samples.npz"),
    ),
    "command, slot sizes of data": lambda place, put: place.command(
        "predict", place.onnx, place.array(), "--slot-size-array", put(place.folder / "sizes.json")
    ),
    "saving in a place": lambda place, put: place.compile().save(put(place.folder / "o.onnx")),
    "open, model": lambda place, put: hugectr2onnx.open_session(put(place.onnx)),
    "open, data": lambda place, put: (put(place.beside(".data")), hugectr2onnx.open_session(place.onnx)),
    "inspect, model": lambda place, put: hugectr2onnx.inspect(put(place.folder / "other.onnx")),
    "inspect, unknown": lambda place, put: hugectr2onnx.inspect(put(place.folder / "something")),
    "inspect, dense": lambda place, put: hugectr2onnx.inspect(put(place.folder / "d.model")),
    "verify, model": lambda place, put: hugectr2onnx.verify(put(place.onnx), place.graph, place.model.folder),
    "verify, data": lambda place, put: (
        put(place.beside(".data")), hugectr2onnx.verify(place.onnx, place.graph, place.model.folder)
    ),
    "verify, graph": lambda place, put: hugectr2onnx.verify(place.onnx, put(place.graph), place.model.folder),
    "verify, samples": lambda place, put: hugectr2onnx.verify(
        place.onnx, place.graph, place.model.folder, put(place.folder / "samples.npz")
    ),
    "verify, key map": lambda place, put: (
        put(place.beside("data1.keys")),
        hugectr2onnx.verify(place.folder / "rows.onnx", place.graph, place.model.folder),
    ),
    "key map": lambda place, put: hugectr2onnx.KeyMapper.open(put(place.folder / "map.keys")),
    "key map of a model": lambda place, put: (
        put(place.beside("data1.keys")), hugectr2onnx.KeyMapper.open(place.folder / "rows.onnx", "data1")
    ),
    "manifest": lambda place, put: (
        put(place.folder / "manifest.json"), hugectr2onnx.verify_manifest(place.folder), place.command("manifest", place.folder)
    ),
    "manifest, data": lambda place, put: (put(place.beside(".data")), place.command("manifest", place.folder)),
    "manifest, rebuild": lambda place, put: (
        put(place.beside(".data")), place.command("manifest", place.folder, "--rebuild")
    ),
    "table, keys": lambda place, put: hugectr2onnx.read_table(put(place.model.path(f"{DISTRIBUTED}/key")).parent),
    "table, vectors": lambda place, put: hugectr2onnx.read_table(
        put(place.model.path(f"{DISTRIBUTED}/emb_vector")).parent
    ),
    "table, one file": lambda place, put: hugectr2onnx.read_table(put(place.folder / "t.model"), width=4),
    "predict, model": lambda place, put: hugectr2onnx.predict(put(place.folder / "o.onnx"), place.array()),
    "predict, against": lambda place, put: place.read(place.array(), against=put(place.folder / "recorded.npy")),
    "predict, against Parquet": lambda place, put: place.read(
        place.array(), against=put(place.folder / "recorded.parquet")
    ),
    "evaluate": lambda place, put: hugectr2onnx.evaluate(place.onnx, put(place.folder / "data.npz")),
    "data, metadata": lambda place, put: (
        put(place.folder / "_metadata.json"), (place.folder / "a.parquet").write_bytes(b"PAR1"),
        place.read(place.folder / "a.parquet"),
    ),
    **of_a_data_set("a.parquet"),
    **of_a_data_set("a.csv"),
    **of_a_data_set("a.arrow"),
    **of_a_data_set("a.npz"),
    **of_a_data_set("a.norm"),
    **of_a_data_set("a.raw", num_samples=4),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("attack", ATTACKS)
def test_it_is_refused_at_once(attack: str, kind: str, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    with at_once(), pytest.raises(HugeCTR2ONNXError) as caught:
        ATTACKS[attack](place, lambda path: put(path, kind, monkeypatch))
    assert not isinstance(caught.value, hugectr2onnx.CompilerError)
