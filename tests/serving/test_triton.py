"""`export triton`, served by a real tritonserver and called by tritonclient."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hugectr2onnx.cli import main

from .conftest import as_csr, as_hugectr
from .triton_server import Triton, missing, running

pytestmark = [pytest.mark.engines, pytest.mark.filterwarnings("ignore::Warning")]
if missing():
    pytest.skip(missing(), allow_module_level=True)
clients = pytest.importorskip("tritonclient.http")
grpc = pytest.importorskip("tritonclient.grpc")
TYPES = {"float32": "FP32", "int64": "INT64", "int32": "INT32", "float64": "FP64"}


@pytest.fixture(scope="module")
def repository(wdl: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("triton") / "models"
    for interface in ("padded", "csr", "hugectr"):
        flags = ["--interface", interface, "--name", interface, "--backend", "python"]
        assert main(["export", "triton", str(wdl.onnx(interface)), str(folder), *flags]) == 0
    return folder


@pytest.fixture(scope="module")
def triton(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Triton]:
    with running(repository, tmp_path_factory.mktemp("server"), "padded", "csr", "hugectr") as server:
        yield server


def infer(module: Any, client: Any, model: str, arrays: dict[str, np.ndarray], output: str = "label") -> np.ndarray:
    inputs = []
    for name, array in arrays.items():
        tensor = module.InferInput(name, list(array.shape), TYPES[str(array.dtype)])
        tensor.set_data_from_numpy(array)
        inputs.append(tensor)
    return np.asarray(client.infer(model, inputs, outputs=[module.InferRequestedOutput(output)]).as_numpy(output))


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_1000_rows_have_the_bits_of_the_session(protocol: str, triton: Triton, wdl: Any) -> None:
    module = clients if protocol == "http" else grpc
    client = module.InferenceServerClient(getattr(triton, protocol))
    for batch, expected in wdl.batches():
        np.testing.assert_array_equal(infer(module, client, "padded", batch), expected)
    client.close()


def test_8_clients_at_once_get_the_same_bits(triton: Triton, wdl: Any) -> None:
    batches = list(wdl.batches())

    def one_client(_: int) -> list[np.ndarray]:
        client = grpc.InferenceServerClient(triton.grpc)
        found = [infer(grpc, client, "padded", batch) for batch, _ in batches]
        client.close()
        return found

    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(one_client, range(8)):
            for array, (_, expected) in zip(found, batches, strict=True):
                np.testing.assert_array_equal(array, expected)


def test_keys_and_offsets_without_padding(triton: Triton, wdl: Any) -> None:
    client = clients.InferenceServerClient(triton.http)
    for batch, expected in wdl.batches():
        np.testing.assert_allclose(infer(clients, client, "csr", as_csr(batch)), expected, rtol=1e-5, atol=1e-6)
    client.close()


def test_a_client_of_hugectrs_backend_works_as_it_is(triton: Triton, wdl: Any) -> None:
    client = clients.InferenceServerClient(triton.http)
    for batch, expected in wdl.batches():
        found = infer(clients, client, "hugectr", as_hugectr(batch), "OUTPUT0")
        np.testing.assert_allclose(found.reshape(-1, 1), expected, rtol=1e-5, atol=1e-6)
    client.close()


@pytest.mark.parametrize(
    ("model", "change", "message"),
    [
        ("padded", {"dense": np.zeros((64, 12), np.float32)}, "dense"),
        ("padded", {"dense": np.zeros((64, 13))}, "dense"),
        ("padded", {"wide_data": np.zeros((63, 2, 1), np.int64)}, "wide_data"),
        ("hugectr", {"ROWINDEX": np.zeros((1, 1794), np.int32)}, "ROWINDEX speaks of 0 keys and CATCOLUMN has 1792"),
        (
            "hugectr",
            {"ROWINDEX": np.zeros((1, 5), np.int32)},
            "ROWINDEX has 3 offsets after the first; a sample has 28",
        ),
    ],
)
def test_what_does_not_fit_is_an_error_that_names_the_input(
    model: str, change: dict[str, np.ndarray], message: str, triton: Triton, wdl: Any
) -> None:
    batch = next(iter(wdl.batches()))[0]
    arrays = {**(as_hugectr(batch) if model == "hugectr" else batch), **change}
    client = clients.InferenceServerClient(triton.http)
    with pytest.raises(Exception, match=message) as error:
        infer(clients, client, model, arrays, "OUTPUT0" if model == "hugectr" else "label")
    assert "Traceback" not in str(error.value)
    client.close()


def test_a_model_is_loaded_again_while_requests_run(triton: Triton, wdl: Any) -> None:
    batch, expected = next(iter(wdl.batches()))
    control = clients.InferenceServerClient(triton.http)

    def keep_asking(_: int) -> int:
        client = clients.InferenceServerClient(triton.http)
        end, count = time.monotonic() + 6, 0
        while time.monotonic() < end:
            np.testing.assert_array_equal(infer(clients, client, "padded", batch), expected)
            count += 1
        client.close()
        return count

    with ThreadPoolExecutor(2) as pool:
        running_clients = [pool.submit(keep_asking, number) for number in range(2)]
        for _ in range(2):
            control.load_model("padded")
        counts = [each.result() for each in running_clients]
    # One client may wait for a good part of the time while the interpreter of the new model starts.
    assert min(counts) > 0
    assert sum(counts) > 10
    control.close()


def test_metrics_of_the_model_are_among_tritons_own(triton: Triton, wdl: Any) -> None:
    client = clients.InferenceServerClient(triton.http)
    infer(clients, client, "padded", next(iter(wdl.batches()))[0])
    client.close()
    with urllib.request.urlopen(f"http://{triton.metrics}/metrics", timeout=5) as answer:
        text = answer.read().decode()
    assert 'hugectr2onnx_rows_total{model="padded"}' in text
    assert 'hugectr2onnx_mean_prediction{label="label",model="padded"}' in text


def test_a_broken_model_is_an_error_of_its_own(wdl: Any, repository: Path, triton: Triton) -> None:
    shutil.copytree(repository / "padded", repository / "broken")
    config = repository / "broken" / "config.pbtxt"
    config.write_text(config.read_text().replace('name: "padded"', 'name: "broken"'))
    (repository / "broken/1/model.onnx").write_bytes(b"no model")
    client = clients.InferenceServerClient(triton.http)
    with pytest.raises(Exception, match=r"load failed for model 'broken': .* is not an ONNX file"):
        client.load_model("broken")
    assert client.is_model_ready("padded")
    client.close()


def test_nothing_is_left_when_it_stops(wdl: Any, repository: Path, tmp_path: Path) -> None:
    with running(repository, tmp_path, "padded") as server:
        group = os.getpgid(server.process.pid)
    listed = subprocess.run(["ps", "-eo", "pgid="], capture_output=True, text=True, check=True).stdout.split()
    assert str(group) not in listed
