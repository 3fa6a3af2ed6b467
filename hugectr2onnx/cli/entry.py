"""From arguments to a verb, from what a verb raises to an exit code."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module

from hugectr2onnx.cli.output import Output, OutputClosedError
from hugectr2onnx.cli.signals import Stopped, stopped_by_signals
from hugectr2onnx.errors import HugeCTR2ONNXError
from hugectr2onnx.version import __version__

INVALID, INTERRUPTED = 3, 130
EPILOG = """\
exit codes: 0 fine, 2 wrong usage, 3 invalid input, 4 unsupported, 5 parity failed, 128 + a signal that stopped it
start with: hugectr2onnx demo
"""


class UsageError(Exception):
    """Arguments that do not go together; exit code 2."""


def run(argv: Sequence[str] | None, verbs: Mapping[str, str]) -> int:
    """Parse the arguments, run the verb, report what goes wrong; never raises for bad input."""
    given = list(sys.argv[1:] if argv is None else argv)
    try:
        arguments = _parser(given, verbs).parse_args(given)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 2
    output = Output(json=getattr(arguments, "json", False))
    try:
        with stopped_by_signals():
            return _run_verb(arguments, output)
    except OutputClosedError as closed:
        return closed.exit_code
    finally:
        output.close()


def _parser(given: Sequence[str], verbs: Mapping[str, str]) -> argparse.ArgumentParser:
    """The parser; only the verbs that the arguments name get their own arguments, and so their modules imported."""
    parser = argparse.ArgumentParser(
        prog="hugectr2onnx",
        description="Compile trained NVIDIA HugeCTR models to verified ONNX models.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"hugectr2onnx {__version__}")
    choices = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for verb, summary in verbs.items():
        own = choices.add_parser(
            verb, help=summary, description=f"{summary[0].upper()}{summary[1:]}.", allow_abbrev=False
        )
        own.add_argument("--debug", action="store_true", help="show the traceback of an error")
        if verb in given:
            import_module(f"hugectr2onnx.cli.{verb}").add_arguments(own)
        own.set_defaults(parser=own)
    return parser


def _run_verb(arguments: argparse.Namespace, output: Output) -> int:
    try:
        code = import_module(f"hugectr2onnx.cli.{arguments.verb}").run(arguments, output)
        return int(code)
    except UsageError as error:
        output.problem(f"{arguments.parser.format_usage()}{arguments.parser.prog}: error: {error}")
        return 2
    except HugeCTR2ONNXError as error:
        output.failure(error)
        if arguments.debug:
            output.traceback()
        return error.exit_code
    except MemoryError:
        output.problem("error: not enough memory for this model on this machine")
        return INVALID
    except KeyboardInterrupt:
        output.problem("interrupted")
        return INTERRUPTED
    except Stopped as stopped:
        output.problem("stopped")
        return stopped.exit_code
