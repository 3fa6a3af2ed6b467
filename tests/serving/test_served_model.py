"""`ServedModel`: what fits a model is predicted, what does not is refused in words that help."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

import hugectr2onnx
from hugectr2onnx.errors import FeedError, OptionError
from hugectr2onnx.serving.served_model import ServedModel

from .conftest import as_csr, as_hugectr


def test_every_interface_predicts_what_the_padded_session_does(wdl: Any) -> None:
    forms = {"padded": dict, "csr": as_csr, "hugectr": as_hugectr}
    batch, expected = next(iter(wdl.batches()))
    for interface, form in forms.items():
        model = ServedModel(wdl.onnx(interface))
        assert model.interface == interface
        np.testing.assert_allclose(model.predict(form(batch))["label"], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("interface", ["padded", "csr", "hugectr"])
def test_the_warm_up_fits_the_model(interface: str, wdl: Any) -> None:
    ServedModel(wdl.onnx(interface)).warm_up()


def test_metadata_are_those_of_the_protocol(wdl: Any) -> None:
    assert ServedModel(wdl.onnx(), "wdl").metadata() == {
        "name": "wdl",
        "versions": ["1"],
        "platform": "onnxruntime_onnx",
        "inputs": [
            {"name": "dense", "datatype": "FP32", "shape": [-1, 13]},
            {"name": "wide_data", "datatype": "INT64", "shape": [-1, 2, 1]},
            {"name": "deep_data", "datatype": "INT64", "shape": [-1, 26, 1]},
        ],
        "outputs": [{"name": "label", "datatype": "FP32", "shape": [-1, 1]}],
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dense": np.zeros((1, 12), np.float32)}, r"input dense is FP32 \[1, 12\]; the model takes FP32 \[-1, 13\]"),
        ({"dense": np.zeros((1, 13))}, r"input dense is FP64 \[1, 13\]; the model takes FP32 \[-1, 13\]"),
        ({"more": np.zeros(1)}, "the request has the unknown more; the model's inputs are: dense FP32"),
        ({"deep_data": np.zeros((2, 26, 1), np.int64)}, "input dense has 1 rows and input deep_data has 2"),
    ],
)
def test_what_does_not_fit_is_named(change: dict[str, np.ndarray], message: str, wdl: Any) -> None:
    one = {name: array[:1] for name, array in wdl.inputs.items()}
    with pytest.raises(FeedError, match=message):
        ServedModel(wdl.onnx()).predict({**one, **change})


def test_an_input_that_is_missing_is_named(wdl: Any) -> None:
    with pytest.raises(FeedError, match="the request lacks deep_data, wide_data"):
        ServedModel(wdl.onnx()).predict({"dense": wdl.inputs["dense"]})


@pytest.mark.parametrize(
    ("name", "edit", "message"),
    [
        ("ROWINDEX", lambda a: a + 1, "begins with"),
        ("ROWINDEX", lambda a: np.where(a == 2, 9999, a).astype(np.int32), "falls from 9999"),
        ("ROWINDEX", lambda a: a[:, :-1], "offsets after the first; a sample has 28"),
        ("CATCOLUMN", lambda a: a[:, :-1], "speaks of 1792 keys and CATCOLUMN has 1791"),
        ("DES", lambda a: a[:, :-13], "different numbers of samples: ROWINDEX 64, DES 63"),
    ],
)
def test_offsets_that_would_lead_elsewhere_are_refused(name: str, edit: Any, message: str, wdl: Any) -> None:
    batch = as_hugectr(next(iter(wdl.batches()))[0])
    with pytest.raises(FeedError, match=message):
        ServedModel(wdl.onnx("hugectr")).predict({**batch, name: edit(batch[name])})


def test_offsets_of_csr_are_checked_too(wdl: Any) -> None:
    batch = as_csr(next(iter(wdl.batches()))[0])
    model = ServedModel(wdl.onnx("csr"))
    with pytest.raises(FeedError, match=r"different numbers of samples: dense 63, wide_data\.offsets 64"):
        model.predict({**batch, "dense": batch["dense"][:63]})
    with pytest.raises(FeedError, match=r"wide_data\.offsets ends with 128, and wide_data has 127 keys"):
        model.predict({**batch, "wide_data": batch["wide_data"][:-1]})


def test_it_can_be_sent_to_another_process(wdl: Any) -> None:
    batch, expected = next(iter(wdl.batches()))
    copy = pickle.loads(pickle.dumps(ServedModel(wdl.onnx())))
    np.testing.assert_array_equal(copy.predict(batch)["label"], expected)


def test_a_name_fits_into_an_address(wdl: Any) -> None:
    with pytest.raises(OptionError, match="the name 'a/b' of the model: use letters"):
        ServedModel(wdl.onnx(), "a/b")


def test_a_model_that_mixes_rows_is_known(wdl: Any, tmp_path: Any) -> None:
    from hugectr2onnx.sample_models import write_sample

    assert not ServedModel(wdl.onnx()).mixes_rows()
    sample = write_sample("din", tmp_path)
    hugectr2onnx.compile(sample.graph, sample.weights).save(tmp_path / "din.onnx")
    assert ServedModel(tmp_path / "din.onnx").mixes_rows()
