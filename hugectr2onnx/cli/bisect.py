"""`hugectr2onnx bisect`."""

from __future__ import annotations

import argparse

from hugectr2onnx.cli.arguments import add_flags, add_json, add_weights, options_of, required_weights
from hugectr2onnx.cli.dataset_arguments import positive
from hugectr2onnx.cli.output import Output
from hugectr2onnx.errors import ParityError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = "%(prog)s GRAPH --weights FOLDER [--data FILE.npz] [-o FOLDER] [options]"
    parser.add_argument("graph", metavar="GRAPH", help="the graph JSON that Model.graph_to_json wrote")
    parser.add_argument("--data", metavar="FILE.npz", help="inputs by name (default: random samples)")
    parser.add_argument("--rows", type=positive, default=16, metavar="N", help="random samples (default 16)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the random samples")
    parser.add_argument("-o", "--output", metavar="FOLDER", help="write a reproduction into a new folder")
    parser.add_argument("--anonymize", action="store_true", help="without the model's own weights and names")
    add_weights(parser)
    add_flags(parser, "model", "tables")
    add_flags(parser, "result", only=("opt_level",))
    add_json(parser)


def run(arguments: argparse.Namespace, output: Output) -> int:
    weights = required_weights(arguments)
    from hugectr2onnx.comparison.bisect import bisect

    options = options_of(arguments)
    with output.progress() as progress:
        found = bisect(
            arguments.graph,
            weights,
            options=options,
            data=arguments.data,
            rows=arguments.rows,
            seed=arguments.seed,
            progress=progress,
        )
    output.say(found.text, "good" if found.passed else "error")
    written = None
    if arguments.output and found.fault is not None and not found.fault.error:
        from hugectr2onnx.comparison.reproduction import write_reproduction

        written = write_reproduction(found.fault, arguments.output, anonymize=arguments.anonymize)
        own = "with weights of the model" if written.has_own_weights else "with random weights"
        output.say(f"{written.folder}: {written.nodes} operations, {written.bytes:,} bytes, {own}")
    if output.json:
        folder = None if written is None else written.folder
        output.data({**found.to_dict(), "reproduction": folder})
    return 0 if found.passed else ParityError.exit_code
