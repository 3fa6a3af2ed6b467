"""Row formats and kept keys of EmbeddingCollection tables: for all look-ups or for each, on the command line too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hugectr2onnx
from hugectr2onnx.cli import main

ROWS = np.float32([[127, 1.25, 0, 0, -3.5], [254, 3, 0, 0, 1]])
AS_INT8 = np.float32([[127, 1, 0, 0, -4], [254, 4, 0, 0, 0]])
"""Steps of 1 and of 2; halves go to the even neighbour."""


@pytest.fixture
def model(tmp_path: Path) -> dict[str, Any]:
    """Two look-ups of one table of two rows (formats 2.5, 3.6)."""
    inner = tmp_path / "dump" / "embedding_collection_0"
    inner.mkdir(parents=True)
    meta = np.array([1, 1, 0, 0, 0, 0], "<i4").tobytes() + np.array([2], "<u8").tobytes()
    (inner / "meta_data").write_bytes(meta + np.array([5], "<i4").tobytes())
    for kind, name, data in ((1, "key0", np.array([7, 9], "<i8")), (2, "weight0", ROWS)):
        (inner / name).write_bytes(np.r_[kind, np.zeros(31)].astype("<i4").tobytes() + data.tobytes())
    lookups = [{"table": 0, "bottom": "keys", "top": top, "combiner": "sum"} for top in ("a", "b")]
    (tmp_path / "ec.json").write_text(json.dumps({"path": "dump", "lookups": lookups}))
    sparse = [{"top": "keys", "slot_num": 1, "nnz_per_slot": [1], "is_fixed_length": False}]
    label, dense = {"top": "label", "label_dim": 1}, {"top": "dense", "dense_dim": 0}
    relus = [{"type": "ReLU", "bottom": top, "top": f"{top}+"} for top in ("a", "b")]
    data = {"type": "Data", "label": label, "dense": dense, "sparse": sparse}
    (tmp_path / "m.json").write_text(json.dumps({"layers": [data, *relus]}))
    return {"graph": tmp_path / "m.json", "weights": {}, "embedding_collection": tmp_path / "ec.json"}


@pytest.mark.parametrize("level", range(4))
def test_one_format_for_each_top(level: int, model: dict[str, Any]) -> None:
    compiled = hugectr2onnx.compile(**model, opt_level=level, embedding={"b": "int8"}, simplify=False)
    found = compiled.run({"keys": np.array([[[9]], [[7]], [[8]]])})
    np.testing.assert_array_equal(found["a+"][:, 0], np.maximum([*ROWS[::-1], [0] * 5], 0))
    np.testing.assert_array_equal(found["b+"][:, 0], np.maximum([*AS_INT8[::-1], [0] * 5], 0))
    assert {(each.table, each.format) for each in compiled.report.stored} == {
        ("a (table0)", "fp32"),
        ("b (table0)", "int8"),
    }


def test_on_the_command_line(model: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "m_dense_0.model").write_bytes(b"")
    given = [str(model["graph"]), "--dense", str(tmp_path / "m_dense_0.model")]
    collection = ["--embedding-collection", str(model["embedding_collection"])]
    out = str(tmp_path / "m.onnx")
    assert main(["check", *given, *collection, "-o", out, "--embedding", "int8"]) == 0
    assert main(["inspect", *given, *collection]) == 0
    assert main(["compile", *given, *collection, "-o", out, "--embedding", "int8", "--no-simplify"]) == 0
    assert main(["verify", out, "--against", *given, *collection]) == 0


def test_keys_to_keep_on_the_command_line(
    model: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "m_dense_0.model").write_bytes(b"")
    np.save(tmp_path / "used.npy", np.array([9, 8]))
    given = [str(model["graph"]), "--dense", str(tmp_path / "m_dense_0.model")]
    given += ["--embedding-collection", str(model["embedding_collection"])]
    out, kept = str(tmp_path / "m.onnx"), ["--keep-keys", f"0={tmp_path / 'used.npy'}"]
    assert main(["check", *given, *kept, "--json"]) == 0
    assert [each["rows"] for each in json.loads(capsys.readouterr().out)["forecast"]["tables"]] == [1]
    assert main(["compile", *given, *kept, "-o", out, "--no-simplify", "--json"]) == 0
    (table,) = json.loads(capsys.readouterr().out)["report"]["stored"]
    assert (table["rows"], table["rows_dropped"], table["bytes_before"], table["bytes_after"]) == (1, 1, 40, 20)
    assert main(["verify", out, "--against", *given, *kept]) == 0
    assert main(["verify", out, "--against", *given]) == 3
    assert main(["compile", *given, "--keep-keys", f"a={tmp_path / 'used.npy'}", "-o", out]) == 2
    assert "name the table (0)" in capsys.readouterr().err
