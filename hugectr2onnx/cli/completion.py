"""`hugectr2onnx completion`."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Mapping

from hugectr2onnx.cli.output import Output

BASH = """\
_hugectr2onnx() {{
    local word="${{COMP_WORDS[COMP_CWORD]}}" before="${{COMP_WORDS[COMP_CWORD-1]}}" verb="${{COMP_WORDS[1]}}" words=""
    if ((COMP_CWORD == 1)); then
        words="{verbs} --help --version"
    elif [[ "$word" == -* ]]; then
        case "$verb" in
{flags}
        esac
    else
        case "$verb $before" in
{values}
        esac
    fi
    COMPREPLY=($(compgen -W "$words" -- "$word"))
}}
complete -o default -F _hugectr2onnx hugectr2onnx
"""
"""Where there are no words to offer, `-o default` offers the names of files."""
ZSH = "autoload -U +X bashcompinit && bashcompinit\n" + BASH


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = 'in ~/.bashrc: eval "$(hugectr2onnx completion bash)"'
    parser.add_argument("shell", choices=("bash", "zsh"), help="the shell to complete in")


def run(arguments: argparse.Namespace, output: Output) -> int:
    output.say(script(ZSH if arguments.shell == "zsh" else BASH).rstrip())
    return 0


def script(template: str) -> str:
    """Return a script that completes verbs, their flags, and what has a choice of values."""
    from hugectr2onnx.cli import VERBS
    from hugectr2onnx.cli.parser import make_parser, verb_parsers

    parsers = verb_parsers(make_parser(VERBS, VERBS))
    flags = {verb: list(_flags(parser)) for verb, parser in parsers.items()}
    return template.format(
        verbs=" ".join(VERBS),
        flags="\n".join(_case(verb, words) for verb, words in flags.items()),
        values="\n".join(_case(f'"{place}"', words) for place, words in _choices(parsers)),
    )


def _case(pattern: str, words: Iterable[str]) -> str:
    return f'            {pattern}) words="{" ".join(words)}" ;;'


def _choices(parsers: Mapping[str, argparse.ArgumentParser]) -> Iterator[tuple[str, list[str]]]:
    """Yield the values that may follow `VERB WORD`: flags with a choice, and the first word of some verbs."""
    from hugectr2onnx.cli.export import TARGETS
    from hugectr2onnx.sample_models import SAMPLES

    for verb, parser in parsers.items():
        for flag, action in _flags(parser).items():
            values = _values(action)
            if values:
                yield f"{verb} {flag}", values
    yield "help help", list(parsers)
    yield "export export", list(TARGETS)
    yield "sample sample", list(SAMPLES)
    yield "completion completion", ["bash", "zsh"]


def _flags(parser: argparse.ArgumentParser) -> dict[str, argparse.Action]:
    """Return the flags of a verb, those of its targets among them: the word that completes them is the verb's."""
    flags = dict(parser._option_string_actions)
    for action in parser._actions:
        for target in action.choices.values() if isinstance(action, argparse._SubParsersAction) else ():
            flags |= target._option_string_actions
    return flags


def _values(action: argparse.Action) -> list[str]:
    """Return the values of a flag: its choices, or those that its metavar lists as `{a,b}`."""
    if action.choices:
        return [str(choice) for choice in action.choices]
    name = action.metavar if isinstance(action.metavar, str) else ""
    return name[1:-1].split(",") if name.startswith("{") else []
