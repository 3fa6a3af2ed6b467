"""`hugectr2onnx compare`."""

from __future__ import annotations

import numpy as np


def record(model, path, logit_off=0.0, **changes):
    """The tensors of the model by hand, as a recording with its inputs."""
    generator = np.random.default_rng(0)
    dense, keys = generator.normal(size=(8, 2)).astype(np.float32), np.full((8, 1, 2), 7)
    fc = dense.astype(np.float64) @ [[0.5], [-1.0]] + 0.25
    arrays = {"dense": dense, "keys": keys, "emb": np.full((8, 1, 1), 2.0), "wide": np.full((8, 1), 2.0), "fc": fc}
    arrays["logit"] = fc + 2.0 + logit_off
    arrays["label"] = model.predict(dense, keys)
    np.savez(path, **{**arrays, **changes})
    return path


def test_a_file_of_the_model_is_the_same(model, compiled, run):
    result = run("compare", model.graph, compiled, "--weights", model.folder, "--json")
    assert result.code == 0
    assert result.json["first"] is None
    by_name = {each["name"]: each for each in result.json["tensors"]}
    assert list(by_name) == ["emb", "wide", "fc", "logit", "label"]
    assert by_name["label"]["verdict"] == "same"
    assert by_name["label"]["max_error"] < 1e-5


def test_the_table_names_tensors_layers_and_errors(model, compiled, run):
    result = run("compare", model.graph, compiled, "--weights", model.folder)
    assert result.code == 0
    assert "max error" in result.out
    assert "logit" in result.out
    assert result.out.splitlines()[-1].endswith("tensors compared on 64 samples")


def test_a_difference_is_named_and_ends_with_5(model, tmp_path, run):
    recording = record(model, tmp_path / "r.npz", logit_off=0.5)
    result = run("compare", model.graph, recording, "--weights", model.folder, "--json")
    assert result.code == 5
    assert result.json["first"]["layer"] == "logit"
    assert result.json["first"]["tensor"] == "logit"
    verdicts = {each["name"]: each["verdict"] for each in result.json["tensors"]}
    assert verdicts == {"emb": "same", "wide": "same", "fc": "same", "logit": "differs", "label": "same"}


def test_the_first_difference_is_a_result_for_a_reader(model, tmp_path, run):
    with np.load(record(model, tmp_path / "r.npz")) as arrays:
        np.savez(tmp_path / "changed.npz", **{**arrays, "logit": arrays["logit"] + 1})
    result = run("compare", model.graph, tmp_path / "changed.npz", "--weights", model.folder)
    assert "first difference: layer logit" in result.out


def test_a_page_replaces_no_file_of_somebody_else(model, compiled, tmp_path, run):
    (tmp_path / "notes.html").write_text("<p>mine</p>")
    arguments = ["compare", model.graph, compiled, "--weights", model.folder, "-o", tmp_path / "notes.html"]
    refused = run(*arguments)
    assert "not a file of ours" in refused.err
    assert refused.out == ""
    assert (tmp_path / "notes.html").read_text() == "<p>mine</p>"
    assert run(*arguments, "--force").code == 0
    assert run(*arguments).code == 0


def test_a_folder_of_recorded_tensors(model, tmp_path, run):
    folder = tmp_path / "recorded"
    folder.mkdir()
    with np.load(record(model, tmp_path / "r.npz")) as arrays:
        for name, array in arrays.items():
            np.save(folder / f"{name}.npy", array)
    assert run("compare", model.graph, folder, "--weights", model.folder).code == 0


def test_some_tensors_alone(model, compiled, run):
    result = run("compare", model.graph, compiled, "--weights", model.folder, "--tensors", "fc,label", "--json")
    assert [each["name"] for each in result.json["tensors"]] == ["fc", "label"]
    wrong = run("compare", model.graph, compiled, "--weights", model.folder, "--tensors", "fc9")
    assert wrong.code == 2
    assert "tensors names 'fc9', which is not among emb, fc, label, logit, wide" in wrong.err


def test_a_page_with_the_same_numbers(model, compiled, tmp_path, run):
    page = tmp_path / "compare.html"
    result = run("compare", model.graph, compiled, "--weights", model.folder, "-o", page, "--json")
    text = page.read_text()
    assert text.startswith("<!doctype html>")
    assert "://" not in text
    for each in result.json["tensors"]:
        if each["max_error"] is not None:
            assert f"<td>{each['max_error']:.3g}</td>" in text


def test_a_graph_needs_weights(model, compiled, run):
    result = run("compare", model.graph, compiled)
    assert result.code == 2
    assert "is a HugeCTR model: give its weights" in result.err


def test_a_recording_without_inputs_says_which(model, tmp_path, run):
    np.savez(tmp_path / "r.npz", fc=np.zeros((8, 1)))
    result = run("compare", model.graph, tmp_path / "r.npz", "--weights", model.folder)
    assert result.code == 3
    assert "lacks the inputs dense, keys: record them too, or give them as an .npz file (--data)" in result.err


def test_inputs_of_a_file(model, tmp_path, run):
    recording = record(model, tmp_path / "r.npz")
    with np.load(recording) as arrays:
        np.savez(tmp_path / "inputs.npz", dense=arrays["dense"], keys=arrays["keys"])
        np.savez(tmp_path / "fc.npz", fc=arrays["fc"])
    arguments = ["--weights", model.folder, "--data", tmp_path / "inputs.npz"]
    assert run("compare", model.graph, tmp_path / "fc.npz", *arguments).code == 0


def test_two_files_of_different_levels(model, compiled, tmp_path, run):
    naive = tmp_path / "naive.onnx"
    assert run("compile", *model.arguments, "-o", naive, "-O0", "--no-simplify").code == 0
    result = run("compare", naive, compiled, "--json")
    assert result.code == 0
    assert {"label", "logit"} <= {each["name"] for each in result.json["tensors"]}
