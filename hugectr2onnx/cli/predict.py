"""`hugectr2onnx predict`."""

from __future__ import annotations

import argparse

from hugectr2onnx.cli.arguments import add_json
from hugectr2onnx.cli.dataset_arguments import add_dataset, add_scoring, names, scored
from hugectr2onnx.cli.output import Output
from hugectr2onnx.cli.text_scores import show_comparison, show_scores
from hugectr2onnx.cli.verify import tolerance
from hugectr2onnx.errors import ParityError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = "%(prog)s MODEL.onnx DATA [-o PREDICTIONS] [options]"
    add_dataset(parser)
    parser.add_argument(
        "-o", "--output", metavar="PREDICTIONS", help="a file to write: .parquet, .csv, .npy or .npz (default: none)"
    )
    parser.add_argument("--force", action="store_true", help="overwrite PREDICTIONS")
    parser.add_argument("--partial", action="store_true", help="keep what was predicted before damaged data")
    parser.add_argument(
        "--metrics", type=names, default=(), metavar="auc,logloss", help="metrics to work out on the way"
    )
    parser.add_argument(
        "--against", metavar="RECORDED", help="predictions of HugeCTR to compare with: .npy, .npz, Parquet or text"
    )
    parser.add_argument("--rtol", type=tolerance, metavar="X", help="for --against: relative tolerance (default 1e-4)")
    parser.add_argument("--atol", type=tolerance, metavar="X", help="for --against: absolute tolerance (default 1e-4)")
    add_scoring(parser)
    add_json(parser)


def run(arguments: argparse.Namespace, output: Output) -> int:
    from hugectr2onnx.datasets.recorded_predictions import ATOL, RECORDED_RTOL

    done = scored(
        arguments,
        output,
        out=arguments.output,
        metrics=arguments.metrics,
        against=arguments.against,
        rtol=RECORDED_RTOL if arguments.rtol is None else arguments.rtol,
        atol=ATOL if arguments.atol is None else arguments.atol,
        partial=arguments.partial,
        force=arguments.force,
    )
    show_scores(done.scores, output)
    if done.comparison is not None:
        show_comparison(done.comparison, output)
    if output.json:
        output.data(done.to_dict())
    return 0 if done.comparison is None or done.comparison.passed else ParityError.exit_code
