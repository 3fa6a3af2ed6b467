"""`hugectr2onnx completion`, asked as bash asks it."""

from __future__ import annotations

import shutil
import subprocess
from typing import Any

import pytest

from hugectr2onnx.cli import VERBS
from hugectr2onnx.cli.completion import BASH, script

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="no bash to ask")


def offered(*words: str) -> set[str]:
    """What bash offers for the last of the words."""
    words_of_bash = " ".join(map(repr, words))
    ask = f"COMP_WORDS=({words_of_bash}); COMP_CWORD={len(words) - 1}; _hugectr2onnx; echo ${{COMPREPLY[@]}}"
    done = subprocess.run(["bash", "-c", f"{script(BASH)}\n{ask}"], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_verbs() -> None:
    assert offered("hugectr2onnx", "") == {*VERBS, "--help", "--version"}
    assert offered("hugectr2onnx", "com") == {"compare", "compile", "completion"}


def test_flags_of_a_verb() -> None:
    assert offered("hugectr2onnx", "verify", "--ag") == {"--against"}
    assert "--weights" in offered("hugectr2onnx", "compile", "m.json", "--")
    assert offered("hugectr2onnx", "layers", "--wei") == set()


def test_values_of_a_flag_with_a_choice() -> None:
    assert offered("hugectr2onnx", "compile", "m.json", "-O", "") == {"0", "1", "2", "3"}
    assert offered("hugectr2onnx", "sample", "wdl", "f", "--scale", "r") == {"realistic"}


def test_names_that_a_verb_takes_first() -> None:
    assert offered("hugectr2onnx", "sample", "wd") == {"wdl"}
    assert offered("hugectr2onnx", "help", "ver") == {"verify"}
    assert offered("hugectr2onnx", "completion", "") == {"bash", "zsh"}


def test_elsewhere_it_is_left_to_the_names_of_files() -> None:
    assert offered("hugectr2onnx", "compile", "") == set()


def test_zsh_reads_the_same_through_bashcompinit(run: Any) -> None:
    bash, zsh = run("completion", "bash").out, run("completion", "zsh").out
    assert zsh == "autoload -U +X bashcompinit && bashcompinit\n" + bash
