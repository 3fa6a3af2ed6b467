"""`hugectr2onnx layers`."""

from __future__ import annotations

import argparse
import re

from hugectr2onnx.cli.arguments import add_json
from hugectr2onnx.cli.output import Output


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--markdown", action="store_true", help="the table of the README")
    add_json(parser)


def run(arguments: argparse.Namespace, output: Output) -> int:
    layers = supported_layers()
    if arguments.markdown:
        output.say(markdown_table(layers))
        return 0
    output.table(
        ("type", "versions", "what it does"), [(each["type"], each["versions"], each["what"]) for each in layers]
    )
    output.say(f"{len(layers)} layer types; embeddings: {', '.join(embedding_types())}")
    if output.json:
        output.data({"layers": layers, "embeddings": list(embedding_types())})
    return 0


def supported_layers() -> list[dict[str, str]]:
    """Return each layer type with the HugeCTR versions that write it and the first line of what it does."""
    from hugectr2onnx.frontend.layers.layer import REGISTRY

    return [
        {"type": name, "versions": layer.versions, "what": _first_line(layer)}
        for name, layer in sorted(REGISTRY.items(), key=lambda entry: entry[0].lower())
    ]


def markdown_table(layers: list[dict[str, str]]) -> str:
    """Return the table between the marks of the README."""
    rows = [f"| {each['type']} | {each['versions']} | {each['what']} |" for each in layers]
    return "\n".join(["| type | versions | what it does at evaluation |", "| --- | --- | --- |", *rows])


def _first_line(layer: type) -> str:
    """Of the docstring, without the section of the specification."""
    line = (layer.__doc__ or "").strip().split("\n")[0]
    return re.sub(r" \((?:layers|formats) [0-9.]+\)", "", line)


def embedding_types() -> tuple[str, ...]:
    from hugectr2onnx.frontend.graph_json.embedding import EMBEDDING_TYPES

    return EMBEDDING_TYPES
