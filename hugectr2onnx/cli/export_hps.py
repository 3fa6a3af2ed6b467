"""`hugectr2onnx export hps`."""

from __future__ import annotations

import argparse

from hugectr2onnx.cli.arguments import add_flags, add_json, add_weights, options_of, required_weights
from hugectr2onnx.cli.entry import UsageError
from hugectr2onnx.cli.output import Output


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = "%(prog)s GRAPH REPOSITORY --weights FOLDER [options]"
    parser.add_argument("graph", metavar="GRAPH", help="the graph JSON that Model.graph_to_json wrote")
    parser.add_argument("repository", metavar="REPOSITORY", help="the folder of Triton's models; nothing is replaced")
    add_weights(parser)
    group = parser.add_argument_group("deployment", "generated and checked, not run: HPS needs a GPU and 24.06")
    group.add_argument("--name", default="model", help="of the ensemble (default model)")
    group.add_argument("--tables", choices=("copy", "link"), default="copy", help="copy the tables, or link to them")
    group.add_argument(
        "--server-path", metavar="PATH", help="where the server has REPOSITORY (default: where it is written)"
    )
    group.add_argument("--max-batch-size", type=int, default=1024, metavar="N", help="samples (default 1024)")
    group.add_argument("--gpus", default="0", metavar="0,1", help="numbers of the GPUs (default 0)")
    add_flags(parser, "model", only=("layer_attrs", "slot_size_array", "input_shapes", "outputs", "load_plugins"))
    add_flags(parser, "tables", only=("default_embedding",))
    add_flags(parser, "result", only=("opt_level", "opset", "check"))
    add_json(parser)


def run(arguments: argparse.Namespace, output: Output) -> int:
    try:
        gpus = [int(text) for text in arguments.gpus.split(",")]
    except ValueError:
        raise UsageError(
            f"--gpus {arguments.gpus[:60]!r}: give numbers with commas between them, such as 0,1"
        ) from None
    options, weights = options_of(arguments), required_weights(arguments)
    from hugectr2onnx.stores.hps_export import export_hps

    done = export_hps(
        arguments.graph,
        weights,
        arguments.repository,
        name=arguments.name,
        tables=arguments.tables,
        server_path=arguments.server_path,
        max_batch_size=arguments.max_batch_size,
        gpus=gpus,
        options=options,
    )
    for warning in done.warnings:
        output.warning(warning)
    output.table(("file",), [(file,) for file in done.files])
    output.say(f"{done.repository}: {', '.join(done.models)}; generated and checked, not run", "good")
    if output.json:
        output.data(done.to_dict())
    return 0
