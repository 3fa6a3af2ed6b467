"""The parser of the command line, which says what a mistyped verb or flag may have been."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from importlib import import_module
from typing import Any, NoReturn

from hugectr2onnx.version import __version__

EPILOG = """\
exit codes: 0 fine, 2 wrong usage, 3 invalid input, 4 unsupported,
5 parity failed, 128 + a signal that stopped it
start with: hugectr2onnx demo
"""


def make_parser(verbs: Mapping[str, str], wanted: Iterable[str]) -> argparse.ArgumentParser:
    """Return the parser; only the verbs that are wanted get their own arguments, and so their modules imported."""
    parser = Parser(
        prog="hugectr2onnx",
        description="Compile trained NVIDIA HugeCTR models to verified ONNX models.",
        epilog=EPILOG,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"hugectr2onnx {__version__}")
    choices = parser.add_subparsers(dest="verb", metavar="VERB")
    for verb, summary in verbs.items():
        own = choices.add_parser(
            verb, help=summary, description=f"{summary[0].upper()}{summary[1:]}.", allow_abbrev=False
        )
        if verb in wanted:
            import_module(f"hugectr2onnx.cli.{verb}").add_arguments(own)
        add_messages(own, default=False)
        own.set_defaults(parser=own)
    return parser


def verb_parsers(parser: argparse.ArgumentParser) -> Mapping[str, argparse.ArgumentParser]:
    """Return the parsers of the verbs by name."""
    (choices,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    return dict(choices.choices)


def add_messages(parser: argparse.ArgumentParser, default: object = argparse.SUPPRESS) -> None:
    """Add the flags that every verb has. A parser below a verb's own has no default: it would undo the verb's own."""
    group = parser.add_argument_group("messages")
    flags = {
        ("-q", "--quiet"): "only errors; the exit code says the rest",
        ("-v", "--verbose"): "what is done, and when, on standard error",
        ("--debug",): "show the traceback of an error",
    }
    for names, text in flags.items():
        group.add_argument(*names, action="store_true", default=default, help=text)


class Formatter(argparse.RawDescriptionHelpFormatter):
    """Help whose lines are broken between words, and nowhere else."""

    def _split_lines(self, text: str, width: int) -> list[str]:
        words = self._whitespace_matcher.sub(" ", text).strip()
        return textwrap.wrap(words, width, break_long_words=False, break_on_hyphens=False)


class Parser(argparse.ArgumentParser):
    """A parser that looks for unknown verbs and flags before anything else, and names the nearest known ones."""

    def __init__(self, *args: Any, **keywords: Any):
        super().__init__(*args, **{"formatter_class": Formatter, **keywords})

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        self._refuse_unknown(args or ())
        return super().parse_known_args(args, namespace)

    def _refuse_unknown(self, given: Sequence[str]) -> None:
        choice = next((action for action in self._actions if isinstance(action, argparse._SubParsersAction)), None)
        if choice is not None:
            # What follows the verb, or the target of an export, is for its own parser.
            first = next((text for text in given if not text.startswith("-")), None)
            given = given[: given.index(first)] if first is not None else given
            if first is not None and first not in choice.choices:
                self._refuse(choice.dest, first, choice.choices)
        for text in given:
            name, is_flag = text.partition("=")[0], text.startswith("--")
            if text == "--":
                return
            if is_flag and name not in self._option_string_actions:
                self._refuse("flag", name, self._option_string_actions)

    def _refuse(self, kind: str, name: str, known: Iterable[str]) -> NoReturn:
        self.error(f"there is no {kind} {name}: {did_you_mean(name, known) or f'{self.prog} --help lists them'}")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return the nearest known name as a question, or nothing."""
    near = get_close_matches(name, list(known), 1)
    return f"did you mean {near[0]}?" if near else ""
