"""`hugectr2onnx evaluate`: metrics alone."""

from __future__ import annotations

import argparse

from hugectr2onnx.cli.arguments import add_json
from hugectr2onnx.cli.dataset_arguments import add_dataset, add_scoring, names, scored
from hugectr2onnx.cli.output import Output
from hugectr2onnx.cli.text_scores import show_scores


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = "%(prog)s MODEL.onnx DATA [options]"
    add_dataset(parser)
    parser.add_argument(
        "--metrics",
        type=names,
        metavar="auc,logloss",
        help="auc, logloss, normalized_entropy, calibration, accuracy, average_precision, hitrate@K, ndcg@K (default: the "
        "first six)",
    )
    add_scoring(parser)
    add_json(parser)


def run(arguments: argparse.Namespace, output: Output) -> int:
    from hugectr2onnx.errors import FeedError
    from hugectr2onnx.scoring.metrics import DEFAULT_METRICS

    done = scored(arguments, output, metrics=arguments.metrics or DEFAULT_METRICS)
    if not done.scores:
        raise FeedError(f"{arguments.data}: holds no labels, and metrics need them")
    show_scores(done.scores, output)
    if output.json:
        output.data({label: dict(values) for label, values in done.scores.items()})
    return 0
