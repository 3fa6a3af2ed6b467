"""A report is plain data: places of layers, exit codes, JSON."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from hugectr2onnx.checking.forecast import Forecast
from hugectr2onnx.checking.report import CheckReport, LayerCheck, Problem, TableCheck, place_layers
from hugectr2onnx.errors import UnsupportedError, WeightsError


def layer(index: int, size: int | None) -> LayerCheck:
    return LayerCheck(index, "InnerProduct", ("x",), (f"y{index}",), expected_bytes=size)


def places(*sizes: int | None, found: int | None = None) -> list[tuple[int | None, int | None]]:
    layers = place_layers([layer(number, size) for number, size in enumerate(sizes)], found)
    return [(each.offset, each.found_bytes) for each in layers]


def test_each_layer_begins_where_the_one_before_it_ends() -> None:
    assert places(40, 0, 12) == [(0, None), (40, None), (40, None)]


def test_nothing_is_known_behind_a_layer_of_unknown_size() -> None:
    assert places(40, None, 12, found=100) == [(0, 40), (None, None), (None, None)]


def test_a_short_file_has_part_of_one_layer_and_nothing_of_the_next() -> None:
    assert places(40, 12, 8, found=44) == [(0, 40), (40, 4), (52, 0)]


def test_the_worst_problem_gives_the_exit_code() -> None:
    wrong, unsupported = Problem.of(WeightsError("short")), Problem.of(UnsupportedError("Hybrid"))
    assert CheckReport().exit_code == 0
    assert CheckReport(problems=(wrong,)).exit_code == 3
    assert CheckReport(problems=(unsupported, wrong)).exit_code == 4


def test_a_problem_has_the_notes_of_its_error_in_its_message() -> None:
    error = WeightsError("too short")
    error.add_note("while opening the table of layers[1]")
    assert Problem.of(error).to_dict() == {
        "kind": "WeightsError",
        "exit_code": 3,
        "message": "too short\n  while opening the table of layers[1]",
    }


def test_json_has_everything_and_the_bytes_of_the_output() -> None:
    forecast = Forecast(dense_bytes=1, table_bytes=20, map_bytes=300, memory_bytes=5, seconds=0.5)
    data = json.loads(json.dumps(CheckReport(layers=(layer(0, 40),), forecast=forecast).to_dict()))
    assert (data["ok"], data["exit_code"], data["problems"]) == (True, 0, [])
    assert data["layers"][0]["expected_bytes"] == 40
    assert data["forecast"]["output_bytes"] == 321


def test_a_table_is_measured_by_the_sizes_of_its_files(tmp_path: Path) -> None:
    np.arange(3, dtype=np.int64).tofile(tmp_path / "key")
    np.zeros(10, np.float32).tofile(tmp_path / "emb_vector")
    table = TableCheck(1, "T", "keys", "emb", 1, 1, 4, "sum", is_needed=True)
    found = table.measured(tmp_path)
    # 3 keys of 8 bytes need 3 vectors of 4 floats, 48 bytes; the file has 40.
    assert (found.rows, found.expected_bytes, found.found_bytes) == (3, 48, 40)


def test_a_table_without_files_has_a_path_and_no_bytes(tmp_path: Path) -> None:
    found = TableCheck(1, "T", "keys", "emb", 1, 1, 4, "sum", is_needed=True).measured(tmp_path / "none")
    assert (found.path, found.rows, found.found_bytes) == (str(tmp_path / "none"), None, None)
