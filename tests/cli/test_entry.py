"""The command line as a whole: help, usage, exit codes, what is imported."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import hugectr2onnx
from hugectr2onnx.cli import VERBS, main
from hugectr2onnx.errors import CompilerError, ParityError, Setting, UnsupportedError, WeightsError

HEAVY = ("numpy", "onnx", "onnxruntime", "networkx", "onnxsim")
COMMAND = (sys.executable, "-m", "hugectr2onnx")


def imported(*arguments: str) -> set[str]:
    """The top-level modules that a call imports."""
    code = (
        "import sys; before = set(sys.modules); from hugectr2onnx.cli import main; code = main(sys.argv[1:]);"
        "sys.stderr.write(' '.join(set(sys.modules) - before)); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    return {name.partition(".")[0] for name in done.stderr.split()}


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], *([verb, "--help"] for verb in VERBS)])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    assert imported(*arguments).isdisjoint(HEAVY)


def test_help_names_every_verb(run: Any) -> None:
    result = run("--help")
    assert result.code == 0
    assert all(verb in result.out for verb in VERBS)


def test_version(run: Any) -> None:
    assert run("--version").out == f"hugectr2onnx {hugectr2onnx.__version__}\n"


@pytest.mark.parametrize("arguments", [["fly"], ["compile"], ["compile", "-O9"], ["layers", "--colour"]])
def test_wrong_usage_is_2(arguments: list[str], run: Any) -> None:
    result = run(*arguments)
    assert result.code == 2
    assert result.out == ""
    assert "usage: hugectr2onnx" in result.err


def test_without_arguments_there_is_the_help(run: Any) -> None:
    result = run()
    assert (result.code, result.err) == (0, "")
    assert result.out == run("help").out == run("--help").out


@pytest.mark.parametrize("verb", VERBS)
def test_help_explains_a_verb(verb: str, run: Any) -> None:
    assert run("help", verb).out == run(verb, "--help").out


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["compil"], "there is no verb compil: did you mean compile?"),
        (["help", "chek"], "there is no verb chek: did you mean check?"),
        (["compile", "--wieghts", "f"], "there is no flag --wieghts: did you mean --weights?"),
        (["check", "g.json", "--output-file=x"], "there is no flag --output-file: did you mean --output?"),
        (["inspect", "--zzz"], "there is no flag --zzz: hugectr2onnx inspect --help lists them"),
        (["--versoin"], "there is no flag --versoin: did you mean --version?"),
    ],
)
def test_a_slip_of_the_keyboard_gets_a_hint(arguments: list[str], hint: str, run: Any) -> None:
    result = run(*arguments)
    assert (result.code, result.out) == (2, "")
    assert hint in result.err


def test_quiet_says_nothing_but_errors(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    result = run("layers", "-q")
    assert (result.code, result.out, result.err) == (0, "", "")
    monkeypatch.setattr("hugectr2onnx.cli.layers.supported_layers", raiser(WeightsError("short")))
    assert run("layers", "--quiet").err == "error: short\n"


def test_verbose_tells_stages_and_passes_on_stderr(run: Any, model: Any, tmp_path: Path) -> None:
    arguments = ["compile", *model.arguments, "-o", tmp_path / "m.onnx", "--no-simplify"]
    plain, verbose = run(*arguments), run(*arguments, "-v")
    assert plain.err == ""
    assert "s] passes\n" in verbose.err
    assert "hugectr2onnx.passes: fuse_matmul_add: 1 fired" in verbose.err
    assert run(*arguments).err == "", "the log is switched off again"


NOISY = """
import os, sys
from hugectr2onnx.cli import layers, main

def noisy():
    print("printed by Python", flush=True)
    os.write(1, b"printed by C\\n")
    return []

layers.supported_layers = noisy
sys.exit(main(["layers", "--json"]))
"""


def test_nothing_but_the_result_reaches_stdout() -> None:
    """onnxruntime prints to standard output from Python and from C++."""
    done = subprocess.run([sys.executable, "-c", NOISY], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["layers"] == []
    assert done.stderr == "printed by Python\nprinted by C\n"


@pytest.mark.parametrize(
    ("error", "code"),
    [(WeightsError("w"), 3), (CompilerError("c"), 3), (UnsupportedError("u"), 4), (ParityError("p"), 5)],
)
def test_errors_have_exit_codes(error: Exception, code: int, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hugectr2onnx.cli.layers.supported_layers", raiser(error))
    assert run("layers").code == code


def test_an_error_is_its_message_with_its_context_and_no_traceback(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    error = WeightsError("the file is short")
    error.add_note("while importing layers[3]")
    monkeypatch.setattr("hugectr2onnx.cli.layers.supported_layers", raiser(error))
    assert run("layers").err == "error: the file is short\n  while importing layers[3]\n"


def test_debug_shows_the_traceback(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hugectr2onnx.cli.layers.supported_layers", raiser(WeightsError("short")))
    assert "Traceback (most recent call last)" in run("layers", "--debug").err


def test_with_json_an_error_is_data_too(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hugectr2onnx.cli.layers.supported_layers", raiser(UnsupportedError("no such layer")))
    assert run("layers", "--json").json == {
        "error": {"kind": "UnsupportedError", "message": "no such layer", "exit_code": 4}
    }


def test_too_little_memory_is_said_plainly(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hugectr2onnx.cli.layers.supported_layers", raiser(MemoryError()))
    result = run("layers")
    assert result.code == 3
    assert "not enough memory" in result.err


def test_an_interrupt_is_130(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hugectr2onnx.cli.layers.supported_layers", raiser(KeyboardInterrupt()))
    result = run("layers")
    assert (result.code, result.err) == (130, "interrupted\n")


def test_an_option_in_an_error_is_written_as_its_flag(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hugectr2onnx.cli.layers.supported_layers", raiser(WeightsError("give ", Setting("n_gpus", 4))))
    assert run("layers").err == "error: give --n-gpus 4\n"


def test_module_and_command_are_the_same() -> None:
    done = subprocess.run([*COMMAND, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"hugectr2onnx {hugectr2onnx.__version__}\n"


@pytest.mark.skipif(os.name != "posix", reason="pipes as POSIX has them")
@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_a_reader_that_goes_away_is_quiet(flags: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as pipe:
        done = subprocess.run([*COMMAND, "layers", *flags], stdout=pipe, stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full to write to")
def test_a_full_disk_behind_stdout_is_an_error() -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run([*COMMAND, "layers", "--json"], stdout=full, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 3
    assert done.stderr.startswith(b"error: cannot write to standard output")


@pytest.mark.skipif(os.name != "posix", reason="a shell that can close streams")
def test_closed_streams_do_no_harm() -> None:
    done = subprocess.run(["sh", "-c", '"$0" -m hugectr2onnx layers --json >&- 2>&-', sys.executable], check=False)
    assert done.returncode == 0


SLOW_WRITING = """
import signal, sys, time
from hugectr2onnx import compiled_model
from hugectr2onnx.backend.onnx.artifact import Artifact
from hugectr2onnx.cli import main

def pieces(self, located={}, metadata={}):
    yield b"half"
    sys.stderr.write("writing\\n")
    sys.stderr.flush()
    time.sleep(SECONDS)
    yield b"the rest"

save = compiled_model.CompiledModel.save

def slow(self, path, **options):
    Artifact.pieces = pieces
    return save(self, path, **options)

compiled_model.CompiledModel.save = slow
sys.exit(main(sys.argv[1:]))
"""
"""The command line, with some time between the halves of a model file."""


@pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")
class TestSignals:
    """They come while the model is being written."""

    @staticmethod
    def ended_by(number: int, code: str, model: Any, target: Path) -> int:
        arguments = ["compile", *model.arguments, "-o", str(target), "--no-simplify"]
        with subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            # A shell ignores SIGINT for what it starts in the background, nohup SIGHUP, and children inherit that.
            preexec_fn=lambda: [signal.signal(each, signal.SIG_DFL) for each in (signal.SIGINT, signal.SIGHUP)],
        ) as process:
            assert process.stderr is not None
            assert process.stderr.readline() == b"writing\n"
            process.send_signal(number)
            return process.wait(30)

    @pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
    def test_nothing_is_left_behind(self, number: int, code: int, model: Any, tmp_path: Path) -> None:
        target = tmp_path / "out" / "tiny.onnx"
        target.parent.mkdir()
        assert self.ended_by(number, SLOW_WRITING.replace("SECONDS", "60"), model, target) == code
        assert list(target.parent.iterdir()) == []

    def test_what_sigkill_leaves_is_gone_after_the_next_run(self, run: Any, model: Any, tmp_path: Path) -> None:
        target = tmp_path / "out" / "tiny.onnx"
        target.parent.mkdir()
        assert self.ended_by(signal.SIGKILL, SLOW_WRITING.replace("SECONDS", "60"), model, target) == -signal.SIGKILL
        assert len(list(target.parent.iterdir())) == 2
        assert run("compile", *model.arguments, "-o", target, "--no-simplify").code == 0
        assert list(target.parent.iterdir()) == [target]

    def test_a_signal_that_is_ignored_stays_so(self, model: Any, tmp_path: Path) -> None:
        """As nohup has it."""
        code = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)" + SLOW_WRITING.replace("SECONDS", "0.5")
        assert self.ended_by(signal.SIGHUP, code, model, tmp_path / "tiny.onnx") == 0
        assert (tmp_path / "tiny.onnx").exists()

    def test_handlers_are_given_back(self, run: Any) -> None:
        before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)]
        run("layers")
        assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)] == before

    def test_outside_the_main_thread(self, run: Any) -> None:
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(run, "layers").result().code == 0


def test_main_takes_the_arguments_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["hugectr2onnx", "--version"])
    assert main() == 0


def raiser(error: BaseException) -> Any:
    def fail(*_: object) -> None:
        raise error

    return fail
