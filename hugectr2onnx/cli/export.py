"""`hugectr2onnx export TARGET`: a converted model in the form that a server or a store takes.

Each target is a module `hugectr2onnx/cli/export_TARGET.py` with `add_arguments` and `run`, as a verb is, and a line here.
"""

from __future__ import annotations

import argparse
from importlib import import_module
from typing import Any

from hugectr2onnx.cli.output import Output
from hugectr2onnx.cli.parser import add_messages

TARGETS: dict[str, str] = {
    "kserve": "what deploys a model with KServe: YAML, a Dockerfile, the model's files",
    "triton": "a model repository for Triton, for its onnxruntime or its Python backend",
    "split": "write the dense part to a folder and the rows of the tables to Redis, RocksDB or Parquet",
    "hps": "write ps.json, the tables and a Triton ensemble for NVIDIA's HPS",
    "versions": "list the versions of a split model, switch readers to one, or remove one",
}
"""What each target writes, in a line."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    choices = parser.add_subparsers(dest="target", metavar="TARGET", required=True, title="targets")
    for target, summary in TARGETS.items():
        own = choices.add_parser(
            target, help=summary, description=f"{summary[0].upper()}{summary[1:]}.", allow_abbrev=False
        )
        _module(target).add_arguments(own)
        add_messages(own)
        own.set_defaults(parser=own)


def run(arguments: argparse.Namespace, output: Output) -> int:
    return int(_module(arguments.target).run(arguments, output))


def _module(target: str) -> Any:
    return import_module(f"hugectr2onnx.cli.export_{target}")
