"""Random models at every level against `numpy_reference`, without the compiler's own check in between.

    python -m tests.property.second_reading --models 2000 --seed 0 [--keep FOLDER]

prints how many models and outputs were compared, each difference with the numbers that make the model again, and which
layers took part. With --keep the files of the models that differ stay. The exit code is 1 if any does.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as with_seed
from hypothesis import strategies as st

import hugectr2onnx
from tests.end_to_end.numpy_layers import type_of
from tests.end_to_end.numpy_reference import Model as Reference

from .models import Model
from .whole_models import Files, feeds_of, whole_models, write_files

Feeds = dict[str, np.ndarray]
LEVELS = (0, 1, 2, 3)
MULTIPLES = (1, 2, 3, 4, 6, 8, 12, 24)
TOLERANCE = 1e-5
NOISE = 8
NUDGE = 2.0**-18
"""How far a masked score may be off in float32, relative to the largest of its row."""


@dataclass
class Findings:
    """What was compared, and what differs."""

    models: int = 0
    outputs: int = 0
    layers: Counter[str] = field(default_factory=Counter)
    differences: list[str] = field(default_factory=list)


def compare(model: Model, seed: int, folder: Path, findings: Findings) -> None:
    """Compile a model at every level and compare what it answers; adds to `findings`."""
    files = write_files(model, folder, seed)
    readings = [_reading(model, files, size, np.random.default_rng([seed, size])) for size in (1, 5)]
    findings.models += 1
    findings.layers.update({type_of(layer) for layer in model.layers[1:]})
    for level in LEVELS:
        compiled = hugectr2onnx.compile(
            model.json,
            files.weights,
            level,
            check=False,
            simplify=False,
            layer_attrs=model.layer_attrs,
            embedding_collection=files.collection(model),
        )
        for reading in readings:
            feeds = {name: array for name, array in reading.feeds.items() if name in _inputs(compiled)}
            found = compiled.run(feeds)
            for line in _differences(found, reading.exact, reading.singles):
                findings.differences.append(f"level {level}, batch {len(reading.feeds['dense'])}: {line}")
            findings.outputs += len(found)


def _inputs(compiled: hugectr2onnx.CompiledModel) -> set[str]:
    return {value.node.name for value in compiled.ir.inputs}


@dataclass(frozen=True)
class Reading:
    """What the reference makes of some feeds, exactly and three times in float32."""

    feeds: dict[str, np.ndarray]
    exact: dict[str, np.ndarray]
    singles: list[dict[str, np.ndarray]]


def _reading(model: Model, files: Files, size: int, random: np.random.Generator) -> Reading:
    """With a batch of `size`, or the first multiple of it that every layer can take: some merge samples, some pick rows."""
    ntp = json.loads(Path(files.weights.ntp).read_text())["layers"] if files.weights.ntp else ()
    assert files.weights.dense is not None
    reference = Reference(
        model.json,
        Path(files.weights.dense),
        files.weights.tables,
        ntp,
        attributes=model.layer_attrs,
        lookups=model.lookups,
        dump=files.dump,
    )
    with np.errstate(all="ignore"):
        feeds, exact = next(_feasible(reference, (feeds_of(model, files, size * each, random) for each in MULTIPLES)))
        singles = [reference.predict(feeds, np.float32, nudge) for nudge in (0.0, NUDGE, -NUDGE)]
    return Reading(feeds, exact, singles)


def _feasible(reference: Reference, every: Iterable[Feeds]) -> Iterator[tuple[Feeds, Feeds]]:
    for feeds in every:
        with contextlib.suppress(ValueError, IndexError):
            yield feeds, reference.predict(feeds)


def _differences(
    found: dict[str, np.ndarray], exact: dict[str, np.ndarray], singles: list[dict[str, np.ndarray]]
) -> list[str]:
    """What is wrong with the outputs: `|d| <= 1e-5 + 1e-5 |reference| + 8 times what float32 loses in the same row`."""
    if found.keys() != exact.keys():
        return [f"outputs {sorted(found)} instead of {sorted(exact)}"]
    lines = []
    for name, reference in exact.items():
        if found[name].shape != reference.shape:
            lines.append(f"{name} has shape {found[name].shape} instead of {reference.shape}")
            continue
        with np.errstate(all="ignore"):
            noise = np.max([np.abs(single[name] - reference) for single in singles], axis=0)
            error = np.abs(found[name] - reference)
        known = np.isfinite(noise) & np.isfinite(reference)
        by_row = np.where(known, noise, 0).max(axis=tuple(range(1, noise.ndim)), keepdims=True)
        allowed = TOLERANCE + TOLERANCE * np.abs(reference) + NOISE * by_row
        wrong = known & ~(error <= allowed)
        if wrong.any():
            place = np.unravel_index(np.where(wrong, error - allowed, -1).argmax(), error.shape)
            lines.append(
                f"{name}{[int(i) for i in place]} is {found[name][place]:.9g}, expected {reference[place]:.9g} "
                f"({wrong.sum()} of {wrong.size} differ, allowed {allowed[place]:.2g})"
            )
    return lines


def search(
    models: int, seed: int, keep: Path | None = None, tell: Callable[[str], object] = lambda line: None
) -> Findings:
    """Draw models and compare each; `tell` gets each difference when it is found."""
    findings = Findings()

    @with_seed(seed)
    @settings(
        max_examples=models,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(whole_models(), st.integers(0, 2**31))
    def run(model: Model, weights_seed: int) -> None:
        before = len(findings.differences)
        with tempfile.TemporaryDirectory() as folder:
            try:
                compare(model, weights_seed, Path(folder), findings)
            except Exception as error:  # whatever goes wrong belongs into the list, and the next model is drawn
                findings.differences.append(f"{type(error).__name__}: {error}")
            if len(findings.differences) > before and keep:
                _keep(
                    model, weights_seed, Path(folder), keep / f"{seed}_{findings.models}", findings.differences[before:]
                )
        for number in range(before, len(findings.differences)):
            findings.differences[number] = f"model {findings.models} of seed {seed}: {findings.differences[number]}"
            tell(findings.differences[number])

    run()
    return findings


def _keep(model: Model, seed: int, files: Path, target: Path, lines: list[str]) -> None:
    shutil.copytree(files, target, dirs_exist_ok=True)
    about = {"layer_attrs": model.layer_attrs, "lookups": model.lookups, "seed": seed, "found": lines}
    (target / "graph.json").write_text(json.dumps(model.json, indent=1))
    (target / "about.json").write_text(json.dumps(about, indent=1))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.property.second_reading", description=__doc__)
    parser.add_argument("--models", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path)
    options = parser.parse_args(arguments)
    begin = time.monotonic()
    findings = search(options.models, options.seed, options.keep, _tell)
    counts = f"{findings.models} models, {findings.outputs} outputs, {len(findings.differences)} differences"
    _tell(
        f"{counts}, {time.monotonic() - begin:.0f} s; models with each layer: {dict(sorted(findings.layers.items()))}"
    )
    return int(bool(findings.differences))


def _tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
