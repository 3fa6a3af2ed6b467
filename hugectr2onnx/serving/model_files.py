"""The files that make up a saved model: the ONNX file, its data files and its key maps."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hugectr2onnx.backend.onnx.onnx_file import external_tensors, read_model
from hugectr2onnx.backend.saving.key_file import KEYS_METADATA
from hugectr2onnx.errors import FeedError, OutputError


def files_beside(path: str | os.PathLike[str]) -> tuple[Path, ...]:
    """Return the data files and key maps that a model names. Raises FeedError where one is missing or lies elsewhere."""
    model = read_model(path)
    folder = Path(os.path.realpath(path)).parent
    data = {place.path for place in external_tensors(model, path).values()}
    maps = {folder / e.value for e in model.metadata_props if e.key.startswith(KEYS_METADATA)}
    for file in sorted(data | maps):
        if file.parent != folder or not file.is_file():
            raise FeedError(f"{file}: the model {path} needs this file beside it")
    return tuple(sorted(data | maps))


def copy_model(path: str | os.PathLike[str], folder: Path, name: str) -> None:
    """Copy a model into a folder under a name, the files beside it under their own."""
    for file in files_beside(path):
        shutil.copyfile(file, folder / file.name)
    shutil.copyfile(os.path.realpath(path), folder / name)


@contextmanager
def new_folder(target: Path, force: bool, mark: str) -> Iterator[Path]:
    """Make a folder to write into, which takes its name once everything is in it; nothing is left where that fails.

    Raises OutputError for a folder that exists (with `force` it is replaced, if it has the file `mark`, as those have that
    were written here) and for a disk that cannot be written.
    """
    target = Path(os.path.realpath(target))
    if target.exists() and not force:
        raise OutputError(f"{target} exists already: give --force to replace it, or another place")
    if target.exists() and not (target / mark).is_file():
        raise OutputError(f"{target} has no {mark}, so it was not written by this command: choose another place")
    hidden = target.with_name(f".{target.name}.{os.getpid()}.new")
    try:
        hidden.mkdir(parents=True)
        yield hidden
        if target.exists():
            old = target.with_name(f".{target.name}.{os.getpid()}.old")
            target.rename(old)
            hidden.rename(target)
            shutil.rmtree(old)
        else:
            hidden.rename(target)
    except OSError as error:
        raise OutputError(f"cannot write {target}: {error.strerror or error}") from error
    finally:
        with suppress(FileNotFoundError):
            shutil.rmtree(hidden)
