"""The command line of the fuzzer."""

from __future__ import annotations

import argparse
import os
import re
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

from fuzz.cases import CORPUS, corpus
from fuzz.supervisor import Supervisor
from fuzz.targets import SHARES
from fuzz.worker import Answer, case_of

REPORT_SECONDS = 300.0


def main(argv: Sequence[str] | None = None) -> int:
    """Replay the corpus, then draw cases until the time is over; 1 where anything was found."""
    arguments = _parser().parse_args(argv)
    with TemporaryDirectory(prefix="fuzz-", dir=_in_memory()) as folder, Supervisor(Path(folder)) as supervisor:
        run = _Run(supervisor, Path(arguments.findings), arguments.quiet)
        if arguments.case is not None:
            run.draw(arguments.targets[0], arguments.seed, arguments.case)
        else:
            for path in corpus(Path(arguments.corpus)):
                run.replay(path)
            run.until(time.monotonic() + 60 * arguments.minutes, arguments.targets, arguments.seed, arguments.first)
        print(run.summary())
    return 1 if run.findings else 0


def _in_memory() -> str | None:
    """Where files cost no disk: making and removing them takes a tenth of the time otherwise."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m fuzz", description="Damage files, read them with hugectr2onnx, and watch what becomes of it."
    )
    parser.add_argument("--minutes", type=float, default=20, help="how long new cases are drawn (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="the same seed draws the same cases (default: %(default)s)")
    parser.add_argument("--targets", nargs="+", choices=sorted(SHARES), default=sorted(SHARES), help="what to attack")
    parser.add_argument("--first", type=int, default=0, metavar="N", help="the number of the first case")
    parser.add_argument("--case", type=int, metavar="N", help="run this case of the first target alone")
    parser.add_argument("--corpus", default=CORPUS, metavar="FOLDER", help="cases to replay first")
    parser.add_argument(
        "--findings", default="findings", metavar="FOLDER", help="where reproducers go (default: %(default)s)"
    )
    parser.add_argument("--quiet", action="store_true", help="print findings and the end alone")
    return parser


class _Run:
    """Counts outcomes, and keeps one reproducer for each place where something fails."""

    def __init__(self, supervisor: Supervisor, folder: Path, quiet: bool) -> None:
        self.supervisor, self.folder, self.quiet = supervisor, folder, quiet
        self.outcomes: Counter[tuple[str, str]] = Counter()
        self.findings: Counter[str] = Counter()
        self.start = self.reported = time.monotonic()

    def until(self, end: float, targets: Sequence[str], seed: int, first: int) -> None:
        for number, target in enumerate(_order(targets, seed, first), first):
            if time.monotonic() >= end:
                return
            self.draw(target, seed, number)

    def draw(self, target: str, seed: int, number: int) -> None:
        answer = self.supervisor.ask(["draw", target, seed, number])
        self._count(target, answer)
        if answer.outcome == "failed" and self._is_new(answer, f"--targets {target} --seed {seed} --case {number}"):
            self.folder.mkdir(parents=True, exist_ok=True)
            case = case_of(target, seed, number, self.supervisor.folder / "again")
            name = self.folder / f"{target}-{seed}-{number}.json"
            name.write_text(case.to_json(answer.failure), encoding="utf-8")

    def replay(self, path: Path) -> None:
        answer = self.supervisor.ask(["replay", str(path.resolve())])
        self._count("corpus", answer)
        if answer.outcome == "failed":
            self._is_new(answer, str(path))

    def summary(self) -> str:
        seconds = time.monotonic() - self.start
        lines = [f"{sum(self.outcomes.values()):,} cases in {seconds / 60:.1f} minutes"]
        for target in sorted({target for target, _ in self.outcomes}):
            counts = {outcome: count for (each, outcome), count in sorted(self.outcomes.items()) if each == target}
            parts = ", ".join(f"{count:,} {outcome}" for outcome, count in counts.items())
            lines.append(f"  {target}: {sum(counts.values()):,} ({parts})")
        places = [f"  {count:,} x {place}" for place, count in self.findings.most_common()]
        return "\n".join([*lines, f"{len(self.findings)} findings", *places])

    def _count(self, target: str, answer: Answer) -> None:
        self.outcomes[target, answer.outcome] += 1
        if not self.quiet and time.monotonic() - self.reported > REPORT_SECONDS:
            self.reported = time.monotonic()
            print(self.summary(), flush=True)

    def _is_new(self, answer: Answer, name: str) -> bool:
        """Count a finding by its place in the code; prints the first of each."""
        place = _place(answer)
        self.findings[place] += 1
        if self.findings[place] > 1:
            return False
        print(f"FINDING {name}\n  {answer.failure}\n{answer.trace}", flush=True)
        return True


def _order(targets: Sequence[str], seed: int, first: int) -> Iterator[str]:
    """Targets by their shares, the same for the same seed."""
    random = Random(f"order/{seed}/{first}")
    weights = [SHARES[target] for target in targets]
    while True:
        yield random.choices(targets, weights)[0]


def _place(answer: Answer) -> str:
    """Where something failed: its kind, and the last lines of our code in the traceback."""
    kind: str = answer.failure.partition(":")[0]
    lines: list[Any] = re.findall(r'File "[^"]*/(hugectr2onnx/[^"]+)", line (\d+)', answer.trace)
    return " ".join([kind, *(f"{file}:{line}" for file, line in lines[-1:])])
