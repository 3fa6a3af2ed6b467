"""`hugectr2onnx serve`: a server that was really started, called over HTTP."""

from __future__ import annotations

import json
import signal
import socket
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from hugectr2onnx.cli import main

from .conftest import as_csr, as_hugectr

pytest.importorskip("starlette", reason="the extra serve is not installed")
pytest.importorskip("uvicorn", reason="the extra serve is not installed")
pytest.importorskip("prometheus_client", reason="the extra serve is not installed")
pytestmark = pytest.mark.engines


def as_json(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    names = {"float32": "FP32", "int64": "INT64", "int32": "INT32", "float64": "FP64"}
    return {
        "inputs": [
            {"name": name, "datatype": names[str(a.dtype)], "shape": list(a.shape), "data": a.ravel().tolist()}
            for name, a in arrays.items()
        ]
    }


def post(url: str, body: bytes | dict[str, Any], **headers: str) -> tuple[int, Any]:
    data = json.dumps(body).encode() if isinstance(body, dict) else body
    request = urllib.request.Request(url, data, headers)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def predict(url: str, arrays: dict[str, np.ndarray]) -> np.ndarray:
    status, answer = post(url, as_json(arrays))
    assert status == 200, answer
    (output,) = answer["outputs"]
    return np.array(output["data"], np.float32).reshape(output["shape"])


@pytest.fixture(scope="module")
def server(wdl: Any, serving_of_module: Any) -> Any:
    return serving_of_module(wdl.onnx(), "--name", "wdl")


@pytest.fixture(scope="module")
def serving_of_module() -> Any:
    from contextlib import ExitStack

    from .conftest import started_server

    with ExitStack() as stack:
        yield lambda *arguments: stack.enter_context(started_server(*arguments))


def test_health_and_metadata(server: Any) -> None:
    assert json.loads(server.get("/v2/health/live")) == {"live": True}
    assert json.loads(server.get("/v2/health/ready")) == {"ready": True}
    assert json.loads(server.get("/v2"))["extensions"] == ["binary_tensor_data"]
    assert json.loads(server.get("/v2/models/wdl/ready")) == {"name": "wdl", "ready": True}
    described = json.loads(server.get("/v2/models/wdl/versions/1"))
    assert described["inputs"][0] == {"name": "dense", "datatype": "FP32", "shape": [-1, 13]}


def test_1000_rows_have_the_bits_of_the_session(server: Any, wdl: Any) -> None:
    for batch, expected in wdl.batches():
        np.testing.assert_array_equal(predict(f"{server.url}/v2/models/wdl/infer", batch), expected)


def test_8_clients_at_once_get_the_same_bits(server: Any, wdl: Any) -> None:
    batches = list(wdl.batches())
    with ThreadPoolExecutor(8) as pool:
        url = f"{server.url}/v2/models/wdl/infer"
        found = list(pool.map(lambda each: predict(url, each[0]), batches * 4))
    for (_, expected), array in zip(batches * 4, found, strict=True):
        np.testing.assert_array_equal(array, expected)


def test_the_binary_form_is_that_of_tritons_client(server: Any, wdl: Any) -> None:
    client_module = pytest.importorskip("tritonclient.http")
    client = client_module.InferenceServerClient(server.url.removeprefix("http://"))
    assert client.is_server_ready()
    assert client.is_model_ready("wdl")
    for batch, expected in wdl.batches():
        inputs = []
        for name, array in batch.items():
            tensor = client_module.InferInput(name, array.shape, "FP32" if array.dtype == np.float32 else "INT64")
            tensor.set_data_from_numpy(array, binary_data=True)
            inputs.append(tensor)
        wanted = [client_module.InferRequestedOutput("label", binary_data=True)]
        answer = client.infer("wdl", inputs, outputs=wanted, request_id="7")
        np.testing.assert_array_equal(answer.as_numpy("label"), expected)
        assert answer.get_response()["id"] == "7"
    client.close()


@pytest.mark.parametrize(("interface", "form"), [("csr", as_csr), ("hugectr", as_hugectr)])
def test_keys_without_padding(interface: str, form: Any, wdl: Any, serving: Any) -> None:
    batch, expected = next(iter(wdl.batches()))
    with serving(wdl.onnx(interface), "--name", "wdl") as other:
        found = predict(f"{other.url}/v2/models/wdl/infer", form(batch))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def other(shape: list[int]) -> dict[str, Any]:
    """An input that the model lacks, without values."""
    return {"name": "other", "datatype": "INT64", "shape": shape, "data": []}


def one_row(wdl: Any) -> dict[str, Any]:
    return as_json({name: array[:1] for name, array in wdl.inputs.items()})


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda r: r["inputs"][0].update(shape=[1, 12]), "input dense is FP32 [1, 12]; the model takes FP32 [-1, 13]"),
        (
            lambda r: r["inputs"][0].update(datatype="FP64"),
            "input dense is FP64 [1, 13]; the model takes FP32 [-1, 13]",
        ),
        (lambda r: r["inputs"].pop(), "the request lacks deep_data; the model's inputs are: dense FP32 [-1, 13]"),
        (lambda r: r["inputs"][0].update(name="x"), "the request lacks dense and has the unknown x"),
        (lambda r: r["inputs"][0].update(data=[0.0] * 12), "input dense has 12 values; the shape [1, 13] has 13"),
        (lambda r: r["inputs"][1].update(data=[1.5, 2]), "input wide_data has values that are not of the type INT64"),
        (
            lambda r: r["inputs"][1].update(data=[1 << 63, 2]),
            "input wide_data has values that are not of the type INT64",
        ),
        (lambda r: r["inputs"][1].update(data=["a", "b"]), "input wide_data has values that are not of the type INT64"),
        (lambda r: r["inputs"][1].update(data=[[1], [2, 3]]), "its data are lists of different lengths"),
        (lambda r: r["inputs"][1].update(shape=[-1, 2, 1]), "a size is not negative"),
        (lambda r: r["inputs"].append(r["inputs"][0]), "the request has the input dense twice"),
        (lambda r: r.update(outputs=[{"name": "y"}]), "there is no output y; the model's outputs are: label"),
        (lambda r: r.update(outputs=[{"name": "label"}] * 2), "asks for the output label twice"),
        (lambda r: r.update(outputs=[{"name": "label"}] * 2000), "outputs: List should have at most 1000 items"),
        (lambda r: r.update(parameters={"binary_data_output": "false"}), "'false'; it is true or false"),
        (lambda r: r["inputs"].append(other(shape=[1 << 62, 2, 0])), "the shape [..., 2, 0], which is too large"),
        (lambda r: r["inputs"].append(other(shape=[10**7, 0])), "the shape [10000000, 0], which is too large"),
        (lambda r: r["inputs"].append(other(shape=[10**4000] * 2)), "Input should be less than 9223372036854775808"),
        (lambda r: r["inputs"][1].update(data=[True, 4]), "input wide_data has values that are not of the type INT64"),
        (lambda r: r["inputs"][1].update(data=["x" * 10**5] + [""] * 10**5), "input wide_data has 100001 values"),
        (lambda r: r.pop("inputs"), "inputs: Field required"),
    ],
)
def test_what_does_not_fit_is_a_400_that_says_what_to_mend(edit: Any, message: str, server: Any, wdl: Any) -> None:
    request = one_row(wdl)
    edit(request)
    status, answer = post(f"{server.url}/v2/models/wdl/infer", request)
    assert status == 400
    assert message in answer["error"]


@pytest.mark.parametrize(
    ("body", "headers", "message"),
    [
        (b"{", {}, "the request is not one of the Open Inference Protocol: Invalid JSON"),
        (b"\xff\xfe", {}, "Invalid JSON"),
        (b"[]", {}, "should be an object"),
        (b"{}", {"Inference-Header-Content-Length": "9"}, "says 9, and the body has 2 bytes"),
        (b"{}", {"Inference-Header-Content-Length": "-1"}, "it is a number of bytes"),
        (b'{"inputs": []}xx', {"Inference-Header-Content-Length": "14"}, "2 bytes behind its last tensor"),
        (b"[" * 100_000, {}, "recursion limit"),
    ],
)
def test_bodies_that_are_no_request(body: bytes, headers: dict[str, str], message: str, server: Any) -> None:
    status, answer = post(f"{server.url}/v2/models/wdl/infer", body, **headers)
    assert status == 400
    assert message in answer["error"]


def test_bytes_that_are_fewer_than_the_shape_needs(server: Any, wdl: Any) -> None:
    request = one_row(wdl)
    request["inputs"][0] = {
        "name": "dense",
        "datatype": "FP32",
        "shape": [1, 13],
        "parameters": {"binary_data_size": 52},
    }
    text = json.dumps(request).encode()
    length = {"Inference-Header-Content-Length": str(len(text))}
    status, answer = post(f"{server.url}/v2/models/wdl/infer", text + b"1234", **length)
    assert (status, answer["error"]) == (400, "input dense has 4 of its 52 bytes behind the JSON")
    request["inputs"][0]["parameters"]["binary_data_size"] = 4
    status, answer = post(f"{server.url}/v2/models/wdl/infer", request)
    assert status == 400
    assert "FP32 [1, 13], which are 52 bytes; its binary_data_size is 4" in answer["error"]


def test_an_unknown_model_is_a_404(server: Any) -> None:
    for path in ("/v2/models/other/infer", "/v2/models/wdl/versions/2/infer"):
        status, answer = post(f"{server.url}{path}", {"inputs": []})
        assert status == 404
        assert "this server has wdl" in answer["error"]


def test_a_request_beyond_the_limit_is_a_413(wdl: Any, serving: Any) -> None:
    with serving(wdl.onnx(), "--name", "wdl", "--max-request-size", "2000") as other:
        url = f"{other.url}/v2/models/wdl/infer"
        assert post(url, one_row(wdl))[0] == 200
        status, answer = post(url, as_json(next(iter(wdl.batches()))[0]))
    assert (status, answer["error"]) == (413, "the request has more than 2,000 bytes")


def test_a_full_queue_is_a_503(wdl: Any, serving: Any) -> None:
    with serving(wdl.onnx(), "--name", "wdl", "--instances", "1", "--max-queue", "0") as other:
        host, port = other.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as slow:
            # A request whose body does not come holds the one place.
            slow.sendall(b"POST /v2/models/wdl/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{")
            time.sleep(0.3)
            status, answer = post(f"{other.url}/v2/models/wdl/infer", one_row(wdl))
        assert status == 503
        assert "try again later" in answer["error"]
        time.sleep(0.3)
        assert post(f"{other.url}/v2/models/wdl/infer", one_row(wdl))[0] == 200
        assert 'refused_requests_total{model="wdl",reason="busy"} 1.0' in other.get("/metrics").decode()


def test_sigterm_lets_requests_finish(wdl: Any, serving: Any) -> None:
    with serving(wdl.onnx(), "--name", "wdl") as other:
        host, port = other.url.removeprefix("http://").split(":")
        body = json.dumps(one_row(wdl)).encode()
        with socket.create_connection((host, int(port))) as slow:
            head = f"POST /v2/models/wdl/infer HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
            slow.sendall(head.encode() + body[:10])
            time.sleep(0.3)
            other.process.send_signal(signal.SIGTERM)
            time.sleep(0.5)
            slow.sendall(body[10:])
            answer = slow.recv(1 << 16)
        assert answer.startswith(b"HTTP/1.1 200")
        assert other.process.wait(10) == 128 + signal.SIGTERM
        assert other.process.stdout.read() == "stopped\n"


def test_it_listens_on_this_machine_alone(wdl: Any, serving: Any) -> None:
    with serving(wdl.onnx()) as other:
        assert other.url.startswith("http://127.0.0.1:")


def test_a_port_that_is_taken_is_wrong_usage(wdl: Any, capsys: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert main(["serve", str(wdl.onnx()), "--port", port]) == 2
    assert f"cannot listen on 127.0.0.1 port {port}: Address already in use" in capsys.readouterr().err


def test_metrics_tell_what_was_asked_and_predicted(wdl: Any, serving: Any) -> None:
    batch, _ = next(iter(wdl.batches()))
    half = {name: array.copy() for name, array in batch.items()}
    half["deep_data"][:, 3] = 1 << 60  # a key that no table has
    half["deep_data"][:, 4] = -1
    half["dense"][0] = np.nan
    with serving(wdl.onnx(), "--name", "wdl") as other:
        predict(f"{other.url}/v2/models/wdl/infer", {**batch})
        time.sleep(1.1)  # keys are looked at once a second
        predict(f"{other.url}/v2/models/wdl/infer", half)
        metrics = settled_metrics(other, "checked_keys_total", 'input="deep_data",model="wdl",slot="3"', 128)
    model = 'model="wdl"'
    assert metrics[f"hugectr2onnx_requests_total{{{model}}}"] == 2
    assert metrics[f"hugectr2onnx_rows_total{{{model}}}"] == 128
    assert metrics[f"hugectr2onnx_request_seconds_count{{{model}}}"] == 2
    assert metrics[f'hugectr2onnx_padding_keys_total{{input="deep_data",{model}}}'] == 64
    assert metrics[f'hugectr2onnx_keys_total{{input="deep_data",{model}}}'] == 2 * 64 * 26
    assert metrics[f'hugectr2onnx_nan_predictions_total{{label="label",{model}}}'] == 1
    unknown = "hugectr2onnx_unknown_keys_total"
    slot = metrics[f'{unknown}{{input="deep_data",{model},slot="3"}}']
    assert slot - metrics[f'{unknown}{{input="deep_data",{model},slot="5"}}'] > 32
    assert 0 < metrics[f'hugectr2onnx_mean_prediction{{label="label",{model}}}'] < 1


def settled_metrics(server: Any, name: str, labels: str, value: float) -> dict[str, float]:
    """The metrics by name and labels in order, once one of them has a value: some are counted on the side."""
    for _ in range(100):
        found = {}
        for line in server.get("/metrics").decode().splitlines():
            if not line.startswith("#"):
                key, _, number = line.rpartition(" ")
                head, _, rest = key.partition("{")
                found[head + "{" + ",".join(sorted(rest.removesuffix("}").split(","))) + "}"] = float(number)
        if found.get(f"hugectr2onnx_{name}{{{labels}}}") == value:
            break
        time.sleep(0.05)
    return found


def test_bench_tells_a_servers_time_beside_the_sessions(server: Any, wdl: Any, run: Any) -> None:
    address = f"{server.url}/v2/models/wdl"
    flags = ["--batch", "1,64", "--clients", "1,2", "--seconds", "0.2", "--json"]
    timings = json.loads(run("bench", address, wdl.onnx(), *flags).out)["timings"]
    places = [(each["where"], each["batch"], each["clients"]) for each in timings]
    assert places == [(w, b, c) for b in (1, 64) for w, c in (("session", 0), ("server", 1), ("server", 2))]
    assert all(each["rate"] > 0 and 0 < each["p50"] <= each["p99"] and each["errors"] == 0 for each in timings)


@pytest.mark.parametrize(
    ("path", "message"),
    [("/v2/models/other", "does not describe a model"), ("/metrics", "is not the address of a model, such as http://")],
)
def test_bench_of_an_address_without_a_model(path: str, message: str, server: Any, run: Any) -> None:
    result = run("bench", f"{server.url}{path}")
    assert result.code == 3
    assert message in result.err


def test_bench_of_nobody(run: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    assert "does not describe a model" in run("bench", f"http://127.0.0.1:{port}/v2/models/wdl").err
