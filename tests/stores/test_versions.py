"""Versions switch in one step, stay while they are read, and go only when told to."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from hugectr2onnx.errors import OptionError, OutputError, StoreError
from hugectr2onnx.stores.export import export_split, remove_version, switch_version
from hugectr2onnx.stores.lookup_client import LookupClient
from hugectr2onnx.stores.split_folder import open_store
from hugectr2onnx.stores.split_scorer import SplitScorer
from hugectr2onnx.stores.version_folder import VersionFolder

from .models import Model, same_bits, write_model


@pytest.fixture(scope="module")
def later(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """The same graph with other weights."""
    return write_model(tmp_path_factory.mktemp("later"), seed=1)


def export(model: Model, folder: Path, kind: str, **more: object) -> str:
    return export_split(model.graph, model.weights, folder, store=kind, options=model.options, **more).version  # type: ignore[arg-type]


def test_a_scorer_that_is_open_takes_the_next_version(kind: str, model: Model, later: Model, tmp_path: Path) -> None:
    feeds = model.feeds(16)
    before, after = model.compile().run(feeds), later.compile().run(feeds)
    assert not same_bits(before, after)
    export(model, tmp_path, kind)
    with SplitScorer(tmp_path) as scorer:
        assert same_bits(scorer(feeds), before)
        assert export(later, tmp_path, kind) == "2"
        assert same_bits(scorer(feeds), after)
        open_store(tmp_path).switch("1")
        assert same_bits(scorer(feeds), before)


def test_answers_are_of_one_version_while_versions_change(
    kind: str, model: Model, later: Model, tmp_path: Path
) -> None:
    feeds = model.feeds(16)
    answers = {array["label"].tobytes() for array in (model.compile().run(feeds), later.compile().run(feeds))}
    export(model, tmp_path, kind)
    export(later, tmp_path, kind, switch=False)
    found: set[bytes] = set()
    stop = threading.Event()
    errors: list[Exception] = []

    def read() -> None:
        with SplitScorer(tmp_path) as scorer:
            try:
                while not stop.is_set():
                    found.add(scorer(feeds)["label"].tobytes())
            except Exception as error:
                errors.append(error)

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    store = open_store(tmp_path)
    for _ in range(10):
        for version in ("2", "1"):
            store.switch(version)
            stop.wait(0.02)
    stop.set()
    for thread in threads:
        thread.join()
    assert errors == []
    assert found == answers


def test_a_version_that_is_not_current_goes_when_told(kind: str, model: Model, later: Model, tmp_path: Path) -> None:
    export(model, tmp_path, kind)
    export(later, tmp_path, kind)
    store, folder = open_store(tmp_path), VersionFolder(tmp_path)
    with pytest.raises(StoreError, match="version 2 is the one that readers take"):
        remove_version(store, folder, "2")
    assert store.versions() == ["1", "2"]
    remove_version(store, folder, "1")
    assert (store.versions(), (tmp_path / "versions" / "1").exists()) == (["2"], False)
    with pytest.raises(StoreError, match="no version 1: there are 2"):
        remove_version(store, folder, "1")


def test_a_reader_finishes_with_a_version_that_is_removed_meanwhile(
    kind: str, model: Model, later: Model, tmp_path: Path
) -> None:
    export(model, tmp_path, kind)
    with LookupClient(open_store(tmp_path), cache_bytes=0) as client:
        pinned = client.pin()
        keys = np.arange(90)
        before = pinned.fetch("averaged", keys)
        export(later, tmp_path, kind, keep_versions=1)
        np.testing.assert_array_equal(pinned.fetch("averaged", keys), before)
        assert client.record.version == "2"


def test_nothing_is_removed_without_being_told(kind: str, model: Model, tmp_path: Path) -> None:
    for name in ("1", "2", "3"):
        assert export(model, tmp_path, kind) == name
    assert open_store(tmp_path).versions() == ["1", "2", "3"]
    done = export_split(model.graph, model.weights, tmp_path, store=kind, options=model.options, keep_versions=2)
    assert (done.version, done.removed) == ("4", ("1", "2"))


def test_an_export_that_fails_leaves_the_version_before(
    kind: str, model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hugectr2onnx.stores import table_rows

    export(model, tmp_path, kind)
    before = sorted(path.name for path in (tmp_path / "versions").iterdir())

    def fail(self: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(table_rows.TableRows, "chunks", fail)
    monkeypatch.setattr(table_rows.TableRows, "sorted_chunks", fail)
    with pytest.raises(OutputError, match="No space left on device; free space on the disk"):
        export(model, tmp_path, kind)
    assert sorted(path.name for path in (tmp_path / "versions").iterdir()) == before
    assert open_store(tmp_path).current() == "1"


KILLED = """
import os, sys, time
from hugectr2onnx.stores import table_rows
from hugectr2onnx.options import Options
from tests.stores.models import write_model
from pathlib import Path
def stop(self): os.kill(os.getpid(), 9)
table_rows.TableRows.chunks = table_rows.TableRows.sorted_chunks = stop
from hugectr2onnx.stores.export import export_split
model = write_model(Path(sys.argv[1]), seed=5)
export_split(model.graph, model.weights, sys.argv[2], store=sys.argv[3], options=model.options)
"""


def test_a_killed_export_leaves_the_version_before_and_the_next_one_tidies(
    kind: str, model: Model, tmp_path: Path
) -> None:
    folder = tmp_path / "split"
    export(model, folder, kind)
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "other"), str(folder), kind], cwd=Path(__file__).parents[2]
    )
    assert done.returncode == -9
    left = [path.name for path in (folder / "versions").iterdir() if path.name.startswith(".unfinished")]
    assert left == [".unfinished-2"]
    assert (open_store(folder).current(), open_store(folder).versions()) == ("1", ["1"])
    assert export(model, folder, kind) == "2"
    assert [path for path in (folder / "versions").iterdir() if path.name.startswith(".unfinished")] == []


def test_names_of_versions(kind: str, model: Model, tmp_path: Path) -> None:
    assert export(model, tmp_path, kind, version="2026-11-28.a") == "2026-11-28.a"
    with pytest.raises(StoreError, match=r"version 2026-11-28\.a is there already"):
        export(model, tmp_path, kind, version="2026-11-28.a")
    with pytest.raises(OptionError, match=r"'\.\./x' cannot name a version"):
        export(model, tmp_path, kind, version="../x")


def test_a_folder_of_somebody_else_is_left_alone(kind: str, model: Model, tmp_path: Path) -> None:
    (tmp_path / "versions" / "mine").mkdir(parents=True)
    with pytest.raises(OutputError, match="versions is there already and not ours"):
        export(model, tmp_path, kind)
    assert (tmp_path / "versions" / "mine").is_dir()


def test_a_folder_of_another_kind_of_store_is_refused(model: Model, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    pytest.importorskip("rocksdict")
    export(model, tmp_path, "parquet")
    with pytest.raises(OptionError, match="holds versions whose rows are in parquet"):
        export(model, tmp_path, "rocksdb")


def test_a_scorer_leaves_a_version_whose_dense_part_was_removed_before_it_was_opened(
    kind: str, model: Model, later: Model, tmp_path: Path
) -> None:
    export(model, tmp_path, kind)
    feeds = later.feeds(4)
    with SplitScorer(tmp_path) as scorer:
        assert scorer.client.record.version == "1"
        pinned = scorer.client.pin()
        export(later, tmp_path, kind, keep_versions=1)
        stale = iter([pinned])
        current = scorer.client.pin
        scorer.client.pin = lambda: next(stale, None) or current()  # type: ignore[method-assign]
        assert same_bits(scorer(feeds), later.compile().run(feeds))


def test_a_version_without_a_dense_part_here_is_not_switched_to(model: Model, tmp_path: Path) -> None:
    """As after an export from another machine, or one that was killed between the store and the folder."""

    class Elsewhere:
        def versions(self) -> list[str]:
            return ["1", "2"]

    with pytest.raises(StoreError, match=r"the store has version 2, and .* has no dense part of it"):
        switch_version(Elsewhere(), VersionFolder(tmp_path), "2")  # type: ignore[arg-type]
