"""`export_hps`: the files of an HPS deployment, in a folder that Triton takes as its model repository.

They are generated and checked, the dense part against the reference and the configurations against Triton's protobuf. They are
not run: HPS needs a GPU and NVIDIA's image of 24.06.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hugectr2onnx.backend.saving.save import save
from hugectr2onnx.backend.saving.writable import output_errors
from hugectr2onnx.errors import OptionError, OutputError
from hugectr2onnx.options import Options
from hugectr2onnx.stores.hps_files import (
    HpsSettings,
    dense_config,
    dense_name,
    embeddings_config,
    embeddings_name,
    ensemble_config,
    ps_json,
)
from hugectr2onnx.stores.hps_model import HpsModel, hps_model

PS_JSON, LAYOUT, CONFIG = "hps.json", "hps_request.json", "config.pbtxt"
_TABLES_FOLDER = ("copy", "link")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")


@dataclass(frozen=True)
class HpsExport:
    """The files that were written: the repository, its files in order, and the tables' folders as the server will see them."""

    repository: str
    models: tuple[str, str, str]
    files: tuple[str, ...]
    sparse_files: tuple[str, ...]
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the same, ready for JSON."""
        return asdict(self)


def export_hps(
    graph: str | os.PathLike[str] | Mapping[str, object],
    weights: object,
    repository: str | os.PathLike[str],
    *,
    name: str = "model",
    tables: str = "copy",
    server_path: str | None = None,
    max_batch_size: int = 1024,
    gpus: Sequence[int] = (0,),
    options: Options | None = None,
) -> HpsExport:
    """Write ps.json, the tables' folders and the ensemble of hps and onnxruntime into a Triton model repository.

    name: of the ensemble; its parts are NAME_embeddings and NAME_dense. tables: "copy" the folders, or "link" to them.
    server_path: where the server has the repository, by default where it is written. Nothing that stands there is replaced.
    Raises HugeCTR2ONNXError: UnsupportedError for tables that HPS cannot read, OutputError where files are in the way.
    """
    settings = _settings(name, tables, max_batch_size, gpus)
    root = Path(os.path.realpath(repository))
    models = name, embeddings_name(name), dense_name(name)
    _check_free(root, models)
    model = hps_model(graph, weights, name, options)
    seen = server_path.rstrip("/") if server_path is not None else str(root)
    places = [f"{models[1]}/1/{table.table}" for table in model.layout.tables]
    with output_errors(root):
        root.mkdir(parents=True, exist_ok=True)
        try:
            _write(model, root, places, [f"{seen}/{place}" for place in places], settings, link=tables == "link")
        except BaseException:
            # All of it is ours: nothing was there.
            for each in models:
                shutil.rmtree(root / each, ignore_errors=True)
            for file in (PS_JSON, LAYOUT):
                (root / file).unlink(missing_ok=True)
            raise
    written = sorted(
        str(path.relative_to(root)) for each in models for path in (root / each).rglob("*") if path.is_file()
    )
    return HpsExport(
        str(root), models, (PS_JSON, LAYOUT, *written), tuple(f"{seen}/{place}" for place in places), model.warnings
    )


def _settings(name: str, tables: str, max_batch_size: int, gpus: Sequence[int]) -> HpsSettings:
    if not _NAME.fullmatch(name):
        raise OptionError(
            f"{name[:80]!r} cannot name a model: give letters, digits, dots and underscores", option="name"
        )
    if tables not in _TABLES_FOLDER:
        raise OptionError(f"tables is {tables!r}; give {' or '.join(_TABLES_FOLDER)}", option="tables")
    if max_batch_size < 1:
        raise OptionError(f"max_batch_size is {max_batch_size}; give 1 or more", option="max_batch_size")
    if not gpus or min(gpus) < 0 or len(set(gpus)) < len(gpus):
        raise OptionError(f"gpus are {list(gpus)}; give the number of each once, from 0 on", option="gpus")
    return HpsSettings(max_batch_size, tuple(gpus))


def _check_free(root: Path, models: Sequence[str]) -> None:
    taken = [each for each in (*models, PS_JSON, LAYOUT) if os.path.lexists(root / each)]
    if taken:
        raise OutputError(f"cannot write {root / taken[0]}: it is there already; choose another folder or name")


def _write(
    model: HpsModel, root: Path, places: list[str], seen: list[str], settings: HpsSettings, *, link: bool
) -> None:
    ensemble, embeddings, dense = (
        model.layout.model,
        embeddings_name(model.layout.model),
        dense_name(model.layout.model),
    )
    for each in (ensemble, embeddings, dense):
        (root / each / "1").mkdir(parents=True)
    for folder, place in zip(model.folders, places, strict=True):
        if link:
            (root / place).symlink_to(folder.resolve(), target_is_directory=True)
        else:
            shutil.copytree(folder, root / place)
    save(model.artifact, root / dense / "1" / "model.onnx", sources=model.sources)
    texts = {
        f"{embeddings}/{CONFIG}": embeddings_config(model.layout, settings),
        f"{dense}/{CONFIG}": dense_config(model.layout, model.outputs),
        f"{ensemble}/{CONFIG}": ensemble_config(model.layout, model.outputs),
        LAYOUT: model.layout.to_json(),
        PS_JSON: ps_json(model.layout, seen, settings),
    }
    for place, text in texts.items():
        with open(root / place, "x", encoding="utf-8") as file:
            file.write(text)
