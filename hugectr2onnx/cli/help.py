"""`hugectr2onnx help`."""

from __future__ import annotations

import argparse

from hugectr2onnx.cli.entry import UsageError
from hugectr2onnx.cli.output import Output


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "about", metavar="VERB", nargs="?", help="the verb to explain (default: all of them, in a line)"
    )


def run(arguments: argparse.Namespace, output: Output) -> int:
    from hugectr2onnx.cli import VERBS
    from hugectr2onnx.cli.parser import did_you_mean, make_parser, verb_parsers

    about = arguments.about
    parser = make_parser(VERBS, [about] if about in VERBS else [])
    if about is None:
        output.say(parser.format_help().rstrip())
        return 0
    if about not in VERBS:
        raise UsageError(f"there is no verb {about}: {did_you_mean(about, VERBS) or 'hugectr2onnx help lists them'}")
    output.say(verb_parsers(parser)[about].format_help().rstrip())
    return 0
