"""`hugectr2onnx draw`: a picture of a model."""

from __future__ import annotations

import argparse

from hugectr2onnx.cli.arguments import add_flags, add_weights, options_of, weights_of
from hugectr2onnx.cli.output import Output


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = (
        "%(prog)s GRAPH | MODEL.onnx -o FILE.svg|.html|.dot|.mmd [--weights FOLDER] [--before-after] [options]"
    )
    parser.add_argument("model", metavar="MODEL", help="a graph JSON or an ONNX file")
    parser.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="FILE",
        help="the drawing: its ending says the format, svg, html, dot or mmd",
    )
    parser.add_argument(
        "--before-after",
        action="store_true",
        help="as imported and after the passes, side by side, and what each pass did",
    )
    parser.add_argument("--force", action="store_true", help="overwrite FILE")
    add_weights(parser)
    add_flags(parser, "model")
    add_flags(parser, "result", only=("opt_level",))


def run(arguments: argparse.Namespace, output: Output) -> int:
    from hugectr2onnx.drawing.draw import draw

    drawing = draw(
        arguments.model,
        weights_of(arguments),
        options_of(arguments),
        out=arguments.output,
        before_after=arguments.before_after,
        force=arguments.force,
    )
    boxes = sum(len(diagram.boxes) for diagram in drawing.diagrams)
    output.say(f"drew {boxes} boxes -> {arguments.output}")
    return 0
