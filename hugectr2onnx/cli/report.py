"""`hugectr2onnx report`."""

from __future__ import annotations

import argparse

from hugectr2onnx.cli.arguments import add_weights, weights_of
from hugectr2onnx.cli.bench import numbers, seconds
from hugectr2onnx.cli.dataset_arguments import add_data_options, dataset_options, names
from hugectr2onnx.cli.entry import UsageError
from hugectr2onnx.cli.output import Output
from hugectr2onnx.errors import ParityError
from hugectr2onnx.reporting import REPORT_FORMATS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = "%(prog)s MODEL.onnx [--against GRAPH --weights FOLDER] [--data DATA] -o report.html [options]"
    parser.add_argument("model", metavar="MODEL.onnx", help="the ONNX file")
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help="the report: .html, .md or .json")
    parser.add_argument(
        "--format", dest="report_format", choices=REPORT_FORMATS, help="default: as the ending of FILE says"
    )
    parser.add_argument("--against", metavar="GRAPH", help="the graph JSON that it came from: proves the file again")
    parser.add_argument(
        "--data", metavar="DATA", help="a labelled data set, as predict reads it: metrics, and latency on it"
    )
    parser.add_argument(
        "--recorded", metavar="FILE", help="the predictions that HugeCTR made of DATA: .npy, .npz, Parquet or text"
    )
    parser.add_argument("--metrics", type=names, default=(), metavar="auc,logloss", help="default: the six of evaluate")
    parser.add_argument("--no-bench", action="store_true", help="leave out the latency")
    parser.add_argument("--batch", type=numbers, default=(1, 64, 1024), metavar="N,...", help="default 1,64,1024")
    parser.add_argument("--threads", type=numbers, default=(1,), metavar="N,...", help="of onnxruntime (default 1)")
    parser.add_argument(
        "--seconds",
        type=seconds,
        default=1.0,
        metavar="X",
        help="for the latency at one batch and thread count (default 1)",
    )
    parser.add_argument("--openvino", action="store_true", help="latency on OpenVINO too (extra `openvino`)")
    parser.add_argument("--force", action="store_true", help="overwrite FILE")
    add_weights(parser)
    add_data_options(parser, "--data-format")


def run(arguments: argparse.Namespace, output: Output) -> int:
    weights = weights_of(arguments)
    if (arguments.against is None) != (weights is None):
        raise UsageError("give --against GRAPH and --weights FOLDER together")
    if arguments.recorded is not None and arguments.data is None:
        raise UsageError("--recorded FILE needs the --data that it was made of")
    from hugectr2onnx.reporting.report import write_report
    from hugectr2onnx.scoring.metrics import DEFAULT_METRICS

    options = dataset_options(arguments) if arguments.data is not None else {}
    data_format = options.pop("format", None)
    with output.progress() as progress:
        made = write_report(
            arguments.model,
            arguments.output,
            against=arguments.against,
            weights=weights,
            data=arguments.data,
            recorded=arguments.recorded,
            data_format=data_format,
            format=arguments.report_format,
            latency=not arguments.no_bench,
            batch=arguments.batch,
            threads=arguments.threads,
            seconds=arguments.seconds,
            openvino=arguments.openvino,
            metrics=arguments.metrics or DEFAULT_METRICS,
            force=arguments.force,
            progress=progress,
            **options,
        )
    output.say(made.verdict, {True: "good", False: "error", None: ""}[made.passed])
    output.say(f"{len(made.sections)} sections -> {arguments.output}")
    return ParityError.exit_code if made.passed is False else 0
