"""`hugectr2onnx export split`."""

from __future__ import annotations

import argparse

from hugectr2onnx.cli.arguments import add_flags, add_json, add_weights, options_of, required_weights
from hugectr2onnx.cli.output import Output

OPTIONS = ("opt_level", "graph_name", "opset", "simplify", "check", "validate")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = "%(prog)s GRAPH FOLDER --weights FOLDER --store STORE [options]"
    parser.add_argument("graph", metavar="GRAPH", help="the graph JSON that Model.graph_to_json wrote")
    parser.add_argument("folder", metavar="FOLDER", help="the folder for the dense parts, one for each version")
    add_weights(parser)
    group = parser.add_argument_group("store", "where the rows of the tables go")
    group.add_argument(
        "--store", choices=("redis", "rocksdb", "parquet"), required=True, help="rocksdb and parquet lie in FOLDER"
    )
    group.add_argument(
        "--address",
        metavar="HOST:PORT,...",
        default="",
        help="nodes of Redis, one or more of a cluster; rediss://HOST:PORT with TLS; user and password come from "
        "HUGECTR2ONNX_REDIS_USERNAME and HUGECTR2ONNX_REDIS_PASSWORD",
    )
    group.add_argument("--store-prefix", metavar="PREFIX", default="split", help="of all keys in Redis (default split)")
    group = parser.add_argument_group("version", "readers see whole versions, one of which is current")
    group.add_argument("--version-name", metavar="NAME", help="of the new version (default: the next number)")
    group.add_argument(
        "--no-switch", action="store_true", help="leave the current version as it is: see `export versions --switch`"
    )
    group.add_argument(
        "--keep-versions", type=int, metavar="N", help="remove all but the N newest and the current one (default: none)"
    )
    add_flags(parser, "model")
    add_flags(parser, "tables")
    add_flags(parser, "result", only=OPTIONS)
    add_json(parser)


def run(arguments: argparse.Namespace, output: Output) -> int:
    options, weights = options_of(arguments), required_weights(arguments)
    from hugectr2onnx.stores.export import export_split

    with output.progress() as progress:
        done = export_split(
            arguments.graph,
            weights,
            arguments.folder,
            store=arguments.store,
            addresses=arguments.address,
            prefix=arguments.store_prefix,
            version=arguments.version_name,
            switch=not arguments.no_switch,
            keep_versions=arguments.keep_versions,
            options=options,
            progress=progress,
        )
    for warning in done.warnings:
        output.warning(warning)
    right = ("rows", "width", "bytes")
    output.table(("table", *right), [(t.name, t.rows, t.width, t.bytes) for t in done.tables], right=right)
    state = "readers take it now" if done.current else "not current yet"
    output.say(f"version {done.version} of {done.folder}: dense part of {done.dense_bytes:,} bytes; {state}", "good")
    if done.removed:
        output.say(f"removed: version {', '.join(done.removed)}")
    if output.json:
        output.data(done.to_dict())
    return 0
