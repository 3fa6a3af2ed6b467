"""Files for NVIDIA's HPS: their shape is that of real ones, and the dense part predicts the bits of the one-file model."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hugectr2onnx
from hugectr2onnx.errors import FeedError, OptionError, OutputError, StoreError, UnsupportedError
from hugectr2onnx.options import Options
from hugectr2onnx.options.parameter_server import read_defaults
from hugectr2onnx.stores.hps_export import export_hps
from hugectr2onnx.stores.hps_layout import HpsLayout

from .models import Model, same_bits
from .test_split import write_localized

DATA = Path(__file__).parent / "data"
REAL = Path(__file__).parents[2].parent / "shared" / "graphs" / "deploy"
REQUIRED = {"model", "sparse_files", "embedding_vecsize_per_table", "maxnum_catfeature_query_per_table_per_sample",
            "default_value_for_each_table", "deployed_device_list", "max_batch_size", "gpucache", "gpucacheper",
            "hit_rate_threshold", "num_of_worker_buffer_in_pool"}  # fmt: skip
"""What the parser of HPS and its Triton backend insist on (formats 6.1)."""
PER_TABLE = ("sparse_files", "embedding_table_names", "embedding_vecsize_per_table",
             "maxnum_catfeature_query_per_table_per_sample", "default_value_for_each_table")  # fmt: skip


def export(model: Model, folder: Path, **more: Any) -> Path:
    export_hps(model.graph, model.weights, folder, name="ctr", options=model.options, **more)
    return folder


def look_up(model: Model, repository: Path, request: dict[str, np.ndarray]) -> np.ndarray:
    """What HPS does, by the files alone: rows of one table after the other, defaults for keys that it lacks (formats 6.2)."""
    (served,) = json.loads((repository / "hps.json").read_text())["models"]
    keys, parts, first = request["EMB_KEY"].reshape(-1), [], 0
    for place, count in enumerate(request["EMB_N_KEY"][0].tolist()):
        folder, width = Path(served["sparse_files"][place]), served["embedding_vecsize_per_table"][place]
        known = np.fromfile(folder / "key", "<i8")
        rows = dict(zip(known.tolist(), np.fromfile(folder / "emb_vector", "<f4").reshape(-1, width), strict=True))
        default = np.full(width, served["default_value_for_each_table"][place], np.float32)
        parts += [rows.get(key, default) for key in keys[first : first + count].tolist()]
        first += count
    assert first == len(keys)
    return np.concatenate(parts)


@pytest.mark.parametrize("level", [0, 2])
@pytest.mark.parametrize("default", [None, 0.75])
def test_the_dense_part_predicts_the_bits_of_the_one_file_model(
    level: int, default: float | None, model: Model, tmp_path: Path
) -> None:
    changed = Model(model.graph, model.weights, model.options.changed(opt_level=level, default_embedding=default))
    repository = export(changed, tmp_path)
    session = hugectr2onnx.open_session(repository / "ctr_dense" / "1" / "model.onnx")
    layout = HpsLayout.read(repository / "hps_request.json")
    for batch in (1, 7, 64):
        feeds = changed.feeds(batch, seed=batch)
        feeds["many"] = np.concatenate([feeds["many"], np.full((batch, 3, 4), -1)], axis=2)[:, :, :4]
        request = layout.request(feeds)
        counts = request.pop("EMB_N_KEY")
        rows = look_up(changed, repository, {**request, "EMB_N_KEY": counts})
        (label,) = session.run(["label"], {"LOOKUP_VECTORS": rows, **request})
        assert same_bits({"label": label}, changed.compile().run(feeds))


def test_a_request_is_table_after_table_with_offsets_and_padding(model: Model, tmp_path: Path) -> None:
    layout = HpsLayout.read(export(model, tmp_path) / "hps_request.json")
    assert [(table.table, table.slots, table.nnz, table.width) for table in layout.tables] == [
        ("averaged", 3, 4, 8), ("summed", 3, 4, 4), ("wide", 2, 1, 1)
    ]  # fmt: skip
    feeds = {"dense": np.zeros((2, 5), np.float32), "many": np.array([[[1, 2], [3, -1], [-1, -1]], [[4, 4], [5, 6], [7, 8]]]),
             "one": np.array([[[9], [10]], [[-1], [11]]])}  # fmt: skip
    request = layout.request(feeds)
    many = [1, 2, -1, -1, 33, -1, -1, -1, -1, -1, -1, -1, 4, 4, -1, -1, 35, 36, -1, -1, 67, 68, -1, -1]
    assert request["EMB_KEY"].tolist() == [[*many, *many, 99, 140, -1, 141]]
    assert request["EMB_N_KEY"].tolist() == [[24, 24, 4]]
    assert request["EMB_N_KEY"].dtype == np.int32
    feeds["many"] = np.ones((2, 3, 5), np.int64)
    with pytest.raises(FeedError, match="input many has 5 keys in a slot, and HPS knows 4 at most"):
        layout.request(feeds)


def test_ps_json_has_what_hps_insists_on_and_nothing_that_no_real_file_has(model: Model, tmp_path: Path) -> None:
    repository = export(model, tmp_path, server_path="/models/", gpus=(0, 1), max_batch_size=256)
    config = json.loads((repository / "hps.json").read_text())
    (served,) = config["models"]
    assert config["supportlonglong"] is True
    assert set(served) >= REQUIRED
    real = [json.loads(path.read_text()) for path in sorted(DATA.glob("ps_*.json"))]
    known = {key for each in real for entry in each["models"] for key in entry}
    assert len(real) >= 3
    # Not in the samples, but in HPS' own parser (formats 6.1).
    assert set(served) - known <= {"num_of_refresher_buffer_in_pool", "embedding_table_names"}
    assert {len(served[key]) for key in PER_TABLE} == {3}
    for key, kind in ((key, type(value)) for entry in real[0]["models"] for key, value in entry.items()):
        assert key not in served or type(served[key]) is kind, key
    assert served["sparse_files"][0] == "/models/ctr_embeddings/1/averaged"
    assert served["maxnum_catfeature_query_per_table_per_sample"] == [12, 12, 2]
    assert served["deployed_device_list"] == [0, 1]
    assert read_defaults(str(repository / "hps.json")) == (("averaged", 0.0), ("summed", 0.0), ("wide", 0.0))


@pytest.mark.skipif(not REAL.is_dir(), reason="the collection of real files is not on this machine")
def test_ps_json_against_every_real_file(model: Model, tmp_path: Path) -> None:
    (served,) = json.loads((export(model, tmp_path) / "hps.json").read_text())["models"]
    kinds: dict[str, set[type]] = {}
    for path in sorted(REAL.glob("ps_*.json")):
        try:
            entries = json.loads(path.read_text())["models"]
        except (ValueError, KeyError):
            continue  # some hold variables of their notebook
        for entry in entries:
            for key, value in entry.items():
                kinds.setdefault(key, set()).add(type(value))
    assert len(kinds) > 12
    for key, value in served.items():
        assert type(value) in kinds.get(key, {type(value)}), key


def test_tables_are_copied_or_linked_unchanged(model: Model, tmp_path: Path) -> None:
    copied, linked = export(model, tmp_path / "a"), export(model, tmp_path / "b", tables="link")
    for place, top in enumerate(("averaged", "summed", "wide")):
        source = Path(model.weights.tables[place])
        for repository in (copied, linked):
            folder = repository / "ctr_embeddings" / "1" / top
            assert (folder / "key").read_bytes() == (source / "key").read_bytes()
            assert (folder / "emb_vector").read_bytes() == (source / "emb_vector").read_bytes()
        assert (linked / "ctr_embeddings" / "1" / top).is_symlink()


@pytest.mark.parametrize("taken", ["hps.json", "ctr/config.pbtxt", "ctr_dense", "ctr_embeddings/1", "hps_request.json"])
def test_nothing_of_the_user_is_overwritten(taken: str, model: Model, tmp_path: Path) -> None:
    path = tmp_path / taken
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("mine")
    with pytest.raises(OutputError, match="it is there already; choose another folder or name"):
        export(model, tmp_path)
    assert path.read_text() == "mine"


def test_an_export_that_fails_leaves_the_repository_as_it_was(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hugectr2onnx.stores import hps_export

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    (tmp_path / "other").mkdir()
    monkeypatch.setattr(hps_export, "save", fail)
    with pytest.raises(OutputError, match="No space left on device"):
        export(model, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["other"]


def test_what_hps_cannot_serve_is_refused(model: Model, tmp_path: Path) -> None:
    graph, folder = write_localized(tmp_path)
    with pytest.raises(UnsupportedError, match="rows that depend on the slot of a key, and HPS ignores slot_id"):
        export_hps(graph, folder, tmp_path / "r")
    for change, message in (
        ({"padding_key": 0}, "with HPS any negative key is padding"),
        ({"embedding": "fp16"}, "as float32 rows"),
        ({"n_gpus": 2}, "by its key alone, not by the GPU of its slot"),
    ):
        with pytest.raises(OptionError, match=message):
            export_hps(model.graph, model.weights, tmp_path / "r", options=model.options.changed(**change))
    with pytest.raises(OptionError, match="cannot name a model"):
        export_hps(model.graph, model.weights, tmp_path / "r", name="../x")
    with pytest.raises(OptionError, match=r"gpus are \[0, 0\]"):
        export_hps(model.graph, model.weights, tmp_path / "r", gpus=(0, 0))
    assert not (tmp_path / "r").exists()


def test_a_layout_of_another_program(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(StoreError, match=r"x\.json is not the layout of an HPS request"):
        HpsLayout.read(tmp_path / "x.json")


def names(text: str, block: str) -> list[str]:
    found = re.search(rf"^{block} \[\n(.*?)\n\]", text, re.MULTILINE | re.DOTALL)
    assert found
    return re.findall(r'name: "([^"]+)"', found[1])


def test_the_names_of_all_files_agree(model: Model, tmp_path: Path) -> None:
    repository = export(model, tmp_path)
    dense = (repository / "ctr_dense" / "config.pbtxt").read_text()
    session = hugectr2onnx.open_session(repository / "ctr_dense" / "1" / "model.onnx")
    assert names(dense, "input") == ["LOOKUP_VECTORS", "EMB_KEY", "dense"]
    assert set(names(dense, "input")) == {entry.name for entry in session.get_inputs()}
    assert names(dense, "output") == [entry.name for entry in session.get_outputs()] == ["label"]
    ensemble = (repository / "ctr" / "config.pbtxt").read_text()
    assert names(ensemble, "input") == ["EMB_KEY", "EMB_N_KEY", "dense"]
    assert re.findall(r'model_name: "([^"]+)"', ensemble) == ["ctr_embeddings", "ctr_dense"]
    (served,) = json.loads((repository / "hps.json").read_text())["models"]
    assert served["model"] == "ctr_embeddings"
    assert all((repository / name / "1").is_dir() for name in ("ctr", "ctr_dense", "ctr_embeddings"))


def parsed(text: str) -> Any:
    from google.protobuf import text_format

    configs = pytest.importorskip("tritonclient.grpc.model_config_pb2")
    return text_format.Parse(text, configs.ModelConfig())


@pytest.mark.engines
def test_the_configurations_are_tritons_protobuf(model: Model, tmp_path: Path) -> None:
    """With what the hps backend insists on (formats 6.2)."""
    pytest.importorskip("tritonclient.grpc")
    repository = export(model, tmp_path, gpus=(0, 1))
    rows, dense, whole = (
        parsed((repository / name / "config.pbtxt").read_text()) for name in ("ctr_embeddings", "ctr_dense", "ctr")
    )
    assert (rows.name, rows.backend, rows.max_batch_size) == ("ctr_embeddings", "hps", 0)
    assert [(each.name, each.data_type, list(each.dims)) for each in rows.input] == [
        ("KEYS", 9, [-1, -1]), ("NUMKEYS", 8, [-1, -1])
    ]  # fmt: skip
    assert [(each.name, each.data_type, list(each.dims)) for each in rows.output] == [("OUTPUT0", 11, [-1])]
    assert (list(rows.instance_group[0].gpus), rows.instance_group[0].kind) == ([0, 1], 1)
    assert list(rows.version_policy.specific.versions) == [1]
    assert (dense.backend, dense.instance_group[0].kind) == ("onnxruntime", 2)
    assert [list(each.dims) for each in dense.input] == [[-1], [-1, -1], [-1, 5]]
    first, second = whole.ensemble_scheduling.step
    assert dict(first.input_map) == {"KEYS": "EMB_KEY", "NUMKEYS": "EMB_N_KEY"}
    assert set(second.input_map) == {each.name for each in dense.input}
    assert dict(second.output_map) == {"label": "label"}


@pytest.mark.engines
def test_the_shape_of_the_configurations_is_that_of_real_ones(model: Model, tmp_path: Path) -> None:
    pytest.importorskip("tritonclient.grpc")
    repository = export(model, tmp_path)
    real = parsed((DATA / "config_hps.pbtxt").read_text())
    own = parsed((repository / "ctr_embeddings" / "config.pbtxt").read_text())
    for kind in ("input", "output"):
        assert [(each.name, each.data_type) for each in getattr(own, kind)] == [
            (each.name, each.data_type) for each in getattr(real, kind)
        ]
    real, own = (
        parsed(path.read_text()) for path in (DATA / "config_ensemble.pbtxt", repository / "ctr" / "config.pbtxt")
    )
    assert (own.platform, own.max_batch_size) == (real.platform, real.max_batch_size)
    assert dict(own.ensemble_scheduling.step[0].input_map) == dict(real.ensemble_scheduling.step[0].input_map)
    assert dict(own.ensemble_scheduling.step[0].output_map) == dict(real.ensemble_scheduling.step[0].output_map)


def test_options_of_the_model_reach_the_dense_part(model: Model, tmp_path: Path) -> None:
    export_hps(model.graph, model.weights, tmp_path, options=Options(slot_size_array=None, outputs=["fc1"]))
    session = hugectr2onnx.open_session(tmp_path / "model_dense" / "1" / "model.onnx")
    assert [entry.name for entry in session.get_outputs()] == ["fc1"]
    assert HpsLayout.read(tmp_path / "hps_request.json").tables[0].offsets == ()
