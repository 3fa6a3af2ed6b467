"""config.pbtxt, read by Triton's own protobuf, and the files of a repository."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hugectr2onnx
from hugectr2onnx.errors import OptionError, UnsupportedError
from hugectr2onnx.sample_models import write_sample
from hugectr2onnx.serving.gpu_nodes import nodes_on_the_cpu
from hugectr2onnx.serving.protobuf_text import Word, protobuf_text
from hugectr2onnx.serving.triton_config import TritonOptions
from hugectr2onnx.serving.triton_repository import export_triton


def parsed(folder: Path) -> Any:
    """The configuration as Triton reads it: unknown fields and wrong types are errors."""
    schema = pytest.importorskip("tritonclient.grpc.model_config_pb2", reason="tritonclient[grpc] is not installed")
    from google.protobuf import text_format

    return text_format.Parse((folder / "config.pbtxt").read_text(), schema.ModelConfig())


def tensors(entries: Any, schema: Any) -> dict[str, tuple[str, list[int]]]:
    return {each.name: (schema.DataType.Name(each.data_type), list(each.dims)) for each in entries}


def test_the_text_form_of_a_message() -> None:
    message = {"name": 'a"b', "on": True, "none": None, "kind": Word("KIND_CPU"), "group": [{"gpus": [0, 1]}, {}]}
    assert protobuf_text(message) == (
        'name: "a\\"b"\non: true\nkind: KIND_CPU\ngroup {\n  gpus: [ 0, 1 ]\n}\ngroup {\n}\n'
    )


def test_padded_keys_have_a_batch_that_requests_join(wdl: Any, tmp_path: Path) -> None:
    options = TritonOptions(instances=3, threads=2, queue_delay_us=250, max_batch_size=512)
    done = export_triton(wdl.onnx(), tmp_path, name="wdl", options=options)
    config = parsed(done.folder)
    from tritonclient.grpc import model_config_pb2 as schema

    assert (config.name, config.backend, config.max_batch_size) == ("wdl", "onnxruntime", 512)
    assert config.default_model_filename == "model.onnx"
    assert tensors(config.input, schema) == {
        "dense": ("TYPE_FP32", [13]),
        "wide_data": ("TYPE_INT64", [2, 1]),
        "deep_data": ("TYPE_INT64", [26, 1]),
    }
    assert tensors(config.output, schema) == {"label": ("TYPE_FP32", [1])}
    assert config.dynamic_batching.max_queue_delay_microseconds == 250
    assert config.dynamic_batching.default_queue_policy.max_queue_size == 1024
    (group,) = config.instance_group
    assert (group.count, schema.ModelInstanceGroup.Kind.Name(group.kind)) == (3, "KIND_CPU")
    assert config.parameters["intra_op_thread_count"].string_value == "2"
    assert done.warnings == ()


def test_most_keys_of_the_warm_up_are_the_models(wdl: Any, tmp_path: Path) -> None:
    done = export_triton(wdl.onnx(), tmp_path, name="wdl")
    (warm_up,) = parsed(done.folder).model_warmup
    tables = np.concatenate([np.fromfile(each, np.int64) for each in wdl.folder.rglob("key")])
    for name in ("wide_data", "deep_data"):
        file = done.folder / "warmup" / warm_up.inputs[name].input_data_file
        keys = np.fromfile(file, np.int64)
        assert len(keys) == np.prod(warm_up.inputs[name].dims)
        assert np.isin(keys, tables).mean() > 0.75


def test_csr_has_no_batch_dimension(wdl: Any, tmp_path: Path) -> None:
    config = parsed(export_triton(wdl.onnx("csr"), tmp_path, name="wdl").folder)
    assert config.max_batch_size == 0
    assert not config.HasField("dynamic_batching")
    assert [list(each.dims) for each in config.input] == [[-1, 13], [-1], [-1], [-1], [-1]]


def test_hugectrs_clients_find_their_inputs_and_output(wdl: Any, tmp_path: Path) -> None:
    config = parsed(export_triton(wdl.onnx("hugectr"), tmp_path, options=TritonOptions("python")).folder)
    from tritonclient.grpc import model_config_pb2 as schema

    # As in HugeCTR's own config.pbtxt (formats 6.2).
    assert tensors(config.input, schema) == {
        "DES": ("TYPE_FP32", [-1]),
        "CATCOLUMN": ("TYPE_INT64", [-1]),
        "ROWINDEX": ("TYPE_INT32", [-1]),
    }
    assert tensors(config.output, schema) == {"OUTPUT0": ("TYPE_FP32", [-1])}
    assert config.max_batch_size > 0


def test_gpus(wdl: Any, tmp_path: Path) -> None:
    done = export_triton(wdl.onnx(), tmp_path, options=TritonOptions(device="tensorrt", gpus=(0, 2), instances=2))
    config = parsed(done.folder)
    (group,) = config.instance_group
    assert (group.count, list(group.gpus)) == (2, [0, 2])
    (accelerator,) = config.optimization.execution_accelerators.gpu_execution_accelerator
    assert accelerator.name == "tensorrt"
    assert any("not run" in each for each in done.warnings)


def test_nodes_that_a_gpu_leaves_to_the_cpu_are_named(tmp_path: Path) -> None:
    sample = write_sample("wdl", tmp_path)
    for keys, on_the_cpu in (("label-encoder", 2), ("indices", 0)):
        hugectr2onnx.compile(sample.graph, sample.weights, keys=keys).save(tmp_path / f"{keys}.onnx")
        assert nodes_on_the_cpu(tmp_path / f"{keys}.onnx").get("LabelEncoder", 0) == on_the_cpu
    options = TritonOptions(device="cuda")
    done = export_triton(tmp_path / "label-encoder.onnx", tmp_path / "models", options=options)
    assert "2 LabelEncoder stay on the CPU" in done.warnings[1]


def test_rows_that_depend_on_one_another_are_not_joined(tmp_path: Path) -> None:
    sample = write_sample("din", tmp_path)
    hugectr2onnx.compile(sample.graph, sample.weights).save(tmp_path / "din.onnx")
    done = export_triton(tmp_path / "din.onnx", tmp_path / "models")
    assert not parsed(done.folder).HasField("dynamic_batching")
    assert "requests are not joined" in done.warnings[0]


def test_data_files_and_key_maps_come_along(wdl: Any, tmp_path: Path) -> None:
    sample = write_sample("wdl", tmp_path)
    compiled = hugectr2onnx.compile(sample.graph, sample.weights, keys="indices")
    files = compiled.save(tmp_path / "rows.onnx", external=True)
    beside = {each.name for each in files} - {"rows.onnx", "manifest.json"}
    assert any(name.endswith(".keys") for name in beside)
    with pytest.raises(UnsupportedError, match=r"key maps beside it, .* use --backend python"):
        export_triton(tmp_path / "rows.onnx", tmp_path / "models")
    done = export_triton(tmp_path / "rows.onnx", tmp_path / "models", options=TritonOptions("python"))
    copied = {each.name for each in (done.folder / "1").iterdir()}
    assert copied == beside | {"model.onnx", "model.py"}
    moved = hugectr2onnx.Scorer(done.folder / "1/model.onnx")
    batch, expected = next(iter(wdl.batches()))
    assert moved(batch)["label"].shape == expected.shape


def test_what_a_backend_or_a_model_cannot_do_is_refused(wdl: Any, tmp_path: Path, run: Any) -> None:
    with pytest.raises(UnsupportedError, match="use --backend python"):
        export_triton(wdl.onnx("hugectr"), tmp_path)
    with pytest.raises(OptionError, match="has the interface padded, not csr: compile the model with --interface csr"):
        export_triton(wdl.onnx(), tmp_path, interface="csr")
    with pytest.raises(OptionError, match="the Python backend runs on the CPU"):
        export_triton(wdl.onnx(), tmp_path, options=TritonOptions("python", device="cuda"))
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_is_there_is_replaced_with_force_alone(wdl: Any, tmp_path: Path, run: Any) -> None:
    arguments = ["export", "triton", wdl.onnx(), tmp_path, "--name", "wdl"]
    assert "start it: tritonserver --model-repository" in run(*arguments).out
    again = run(*arguments)
    assert again.code == 3
    assert "exists already: give --force to replace it" in again.err
    assert run(*arguments, "--force", "--max-queue-delay", "2ms").code == 0
    assert parsed(tmp_path / "wdl").dynamic_batching.max_queue_delay_microseconds == 2000
    assert [each.name for each in tmp_path.iterdir()] == ["wdl"]


@pytest.mark.parametrize("target", ["triton", "kserve"])
def test_a_folder_of_somebody_else_is_not_replaced(target: str, wdl: Any, tmp_path: Path, run: Any) -> None:
    precious = tmp_path / "wdl" / "precious"
    precious.parent.mkdir()
    precious.touch()
    place = tmp_path if target == "triton" else precious.parent
    refused = run("export", target, wdl.onnx(), place, "--name", "wdl", "--force")
    assert refused.code == 3
    assert "so it was not written by this command: choose another place" in refused.err
    assert [each.name for each in tmp_path.rglob("*")] == ["wdl", "precious"]


def test_the_folder_that_one_stands_in_exists_already(
    wdl: Any, tmp_path: Path, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert f"{tmp_path} exists already" in run("export", "kserve", wdl.onnx(), ".", "--name", "wdl").err
    assert f"{tmp_path} has no inference_service.yaml" in run("export", "kserve", wdl.onnx(), ".", "--force").err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--max-queue-delay", "soon"], "'soon' is not a time such as 100us or 2ms"),
        (["--gpus", "a"], "'a' are not numbers of GPUs"),
        (["--instances", "0"], "'0' is not a number from 1 up"),
    ],
)
def test_settings_that_make_no_sense(flags: list[str], message: str, run: Any, tmp_path: Path) -> None:
    result = run("export", "triton", "m.onnx", tmp_path, *flags)
    assert result.code == 2
    assert message in result.err
