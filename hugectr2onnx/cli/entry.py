"""From arguments to a verb, from what a verb raises to an exit code."""

from __future__ import annotations

import gc
import logging
import sys
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module

from hugectr2onnx.cli.output import Output, OutputClosedError
from hugectr2onnx.cli.parser import make_parser
from hugectr2onnx.cli.signals import Stopped, stopped_by_signals
from hugectr2onnx.cli.streams import reserved_stdout
from hugectr2onnx.errors import HugeCTR2ONNXError

INVALID, INTERRUPTED = 3, 130
COLLECT_EVERY = 50_000
"""Objects that are made before the garbage collector looks for cycles among them; Python's default is 700."""


class UsageError(Exception):
    """Arguments that do not go together; exit code 2."""


def run(argv: Sequence[str] | None, verbs: Mapping[str, str]) -> int:
    """Parse the arguments, run the verb, report what goes wrong; never raises for bad input."""
    given = list(sys.argv[1:] if argv is None else argv) or ["help"]
    try:
        arguments = make_parser(verbs, given).parse_args(given)
        if arguments.verb is None:
            arguments = make_parser(verbs, ["help"]).parse_args(["help"])
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 2
    with reserved_stdout() as results:
        output = Output(
            json=getattr(arguments, "json", False),
            quiet=arguments.quiet,
            verbose=arguments.verbose,
            results=results,
        )
        try:
            with stopped_by_signals(), _logged(arguments.verbose), _rare_collections():
                return _run_verb(arguments, output)
        except OutputClosedError as closed:
            return closed.exit_code
        finally:
            output.close()


@contextmanager
def _rare_collections() -> Iterator[None]:
    """Let the garbage collector run rarely: what the imports make is no garbage, and looking at it takes a tenth of them."""
    before = gc.get_threshold()
    gc.set_threshold(COLLECT_EVERY, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


@contextmanager
def _logged(verbose: bool) -> Iterator[None]:
    """Show the library's log on standard error: what each pass did."""
    if not verbose:
        yield
        return
    logger, handler = logging.getLogger("hugectr2onnx"), logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
    before = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)


def _run_verb(arguments: Namespace, output: Output) -> int:
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
