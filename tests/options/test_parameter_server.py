"""Vectors of unknown keys from the configuration of an HPS deployment (formats 6.1)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hugectr2onnx.errors import OptionError
from hugectr2onnx.options import Options


def model(name: str = "m", **entries: Any) -> dict[str, Any]:
    return {"model": name, "sparse_files": ["a", "b"], **entries}


def written(folder: Path, *models: dict[str, Any]) -> str:
    (folder / "ps.json").write_text(json.dumps({"supportlonglong": True, "models": list(models)}))
    return str(folder / "ps.json")


def test_numbers_by_the_names_of_the_tables(tmp_path: Path) -> None:
    path = written(tmp_path, model(embedding_table_names=["x", "y"], default_value_for_each_table=[1.0, 0.5]))
    assert Options(default_embedding=path).default_embedding == (("x", 1.0), ("y", 0.5))


def test_tables_without_names_are_numbered_and_missing_numbers_are_zero(tmp_path: Path) -> None:
    path = written(tmp_path, model(default_value_for_each_table=["1.0"]))
    assert Options(default_embedding=path).default_embedding == (("sparse_embedding0", 1.0), ("sparse_embedding1", 0.0))


def test_one_of_several_models(tmp_path: Path) -> None:
    path = written(tmp_path, model("a", default_value_for_each_table=[1]), model("b", default_value_for_each_table=[2]))
    assert Options(default_embedding=f"{path}::b").default_embedding == (
        ("sparse_embedding0", 2.0),
        ("sparse_embedding1", 0.0),
    )
    with pytest.raises(OptionError, match=r"holds a, b; name one of them, as .*ps\.json::MODEL"):
        Options(default_embedding=path)


def test_the_parsed_configuration() -> None:
    config = {"models": [model(default_value_for_each_table=[0.25, 0.5])]}
    assert Options(default_embedding=config).default_embedding == (
        ("sparse_embedding0", 0.25),
        ("sparse_embedding1", 0.5),
    )


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"default_value_for_each_table": ["many"]}, "holds 'many', expected a number"),
        (
            {"default_value_for_each_table": [1, 2, 3], "embedding_table_names": ["x"]},
            "has 3 default values for 1 tables",
        ),
        ({"embedding_table_names": [7]}, "expected a string"),
    ],
)
def test_a_configuration_that_is_wrong(entries: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=message) as refused:
        Options(default_embedding=written(tmp_path, model(**entries)))
    assert refused.value.option == "default_embedding"
