"""`hugectr2onnx diff`."""

from __future__ import annotations

import argparse

from hugectr2onnx.cli.arguments import add_json
from hugectr2onnx.cli.output import Output


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = "%(prog)s A.onnx B.onnx [--json]"
    parser.add_argument("a", metavar="A.onnx", help="an ONNX file")
    parser.add_argument("b", metavar="B.onnx", help="another ONNX file")
    add_json(parser)


def run(arguments: argparse.Namespace, output: Output) -> int:
    from hugectr2onnx.comparison.structure import PARTS, diff

    found = diff(arguments.a, arguments.b)
    for part in PARTS:
        changes = found.of(part)
        if changes:
            output.title(part)
            output.table(("", "A", "B"), [(each.name, each.a, each.b) for each in changes])
    if found.same:
        output.say(f"{found.a} and {found.b} hold the same", "good")
    if output.json:
        output.data(found.to_dict())
    return 0
