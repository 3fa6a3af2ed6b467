"""What is attacked, and how: each target draws cases and puts them to the code that reads such files.

A target is a class with `draw(random, scratch) -> Case` and `attack(case, folder) -> str`; the answer says in a word what
became of the case. Errors that a case deserves are answers; whatever else `attack` raises is a finding.
"""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Callable, Mapping
from functools import cache, cached_property
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import numpy as np

import hugectr2onnx
from fuzz.cases import SPECIAL_KINDS, Case
from fuzz.models import GRAPH, MODELS, Files, dump_files, model_files, read_files, with_fitting_weights
from fuzz.mutations import JSON_CHANGES, any_value, change_bytes, change_files, change_folder, change_json
from hugectr2onnx import CompilerError, HugeCTR2ONNXError, KeyMapper, ParityError
from hugectr2onnx.checking.dry_run import check
from hugectr2onnx.datasets.recorded_predictions import read_samples
from hugectr2onnx.frontend.graph_json import reader
from hugectr2onnx.frontend.layers.layer import REGISTRY
from hugectr2onnx.inspection.onnx_model import inspect_onnx
from hugectr2onnx.ir.feeds import feeds_for, smallest_batch
from hugectr2onnx.verification.verify_file import verify

MAX_MESSAGE = 2000
"""Characters of an error with its notes; a longer one is a finding."""
LEVELS = (0, 2)
MODEL = "model.onnx"


class MessageTooLongError(Exception):
    """An error that nobody reads to its end."""


class Target(Protocol):
    """One kind of input."""

    def draw(self, random: Random, scratch: Path) -> Case: ...

    def attack(self, case: Case, folder: Path) -> str: ...


def judged(call: Callable[[], object]) -> str:
    """Run a call: "accepted", or "refused" where it raises an error that its input deserves; anything else is raised.

    CompilerError and ParityError blame the compiler, so they count as failures, and so do warnings.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            call()
        except (CompilerError, ParityError):
            raise
        except HugeCTR2ONNXError as error:
            text = error.describe()
            if not text.strip() or len(text) > MAX_MESSAGE:
                raise MessageTooLongError(f"{len(text)} characters: {text[:200]}...") from error
            return "refused"
    return "accepted"


class Folders:
    """Whole model folders: compiled, run, and checked by the dry run, which never raises."""

    @cached_property
    def originals(self) -> Mapping[str, Files]:
        with TemporaryDirectory() as scratch:
            return {name: model_files({"layers": layers}, Path(scratch, name)) for name, layers in MODELS.items()}

    def draw(self, random: Random, scratch: Path) -> Case:
        files = dict(self.originals[random.choice(sorted(self.originals))])
        damage(random, files, scratch)
        special = {}
        if random.random() < 0.05:
            special[random.choice(sorted(files))] = random.choice(SPECIAL_KINDS)
        return Case("folders", files, {"level": random.choice(LEVELS), "check": random.random() < 0.1}, special)

    def attack(self, case: Case, folder: Path) -> str:
        if case.facts["check"]:
            return judged(lambda: check(folder / GRAPH, folder))
        return judged(lambda: compile_and_run(folder / GRAPH, folder, int(case.facts["level"])))


def damage(random: Random, files: Files, scratch: Path) -> None:
    """One to four changes of a model folder, half of the time with weights that fit the changes of the graph."""
    for _ in range(random.choice([1, 1, 1, 2, 3])):
        change_folder(random, files, GRAPH)
    if random.random() < 0.5:
        fitting = with_fitting_weights(files, scratch)
        files.clear()
        files.update(fitting)
        if random.random() < 0.5:
            change_folder(random, files, GRAPH)


def compile_and_run(graph: Path, weights: Any, level: int, **options: Any) -> hugectr2onnx.CompiledModel:
    """Compile a model without onnxsim, which reads no file of the user's, and run it on generated feeds."""
    compiled = hugectr2onnx.compile(graph, weights, level, simplify=False, **options)
    outputs = compiled.run(feeds_for(compiled.ir, 2 * smallest_batch(compiled.ir), seed=1))
    assert list(outputs) == list(compiled.ir.outputs)
    return compiled


class Texts:
    """The text of a graph JSON, read and no more: many cases a second."""

    @cached_property
    def originals(self) -> list[bytes]:
        return [json.dumps({"layers": layers}, indent=1).encode() for layers in MODELS.values()]

    def draw(self, random: Random, scratch: Path) -> Case:
        text = random.choice(self.originals)
        for _ in range(random.randint(1, 3)):
            text = (
                change_bytes(random, text)
                if random.random() < 0.7
                else change_json(random, random.choice(JSON_CHANGES), text)
            )
        return Case("texts", {GRAPH: text})

    def attack(self, case: Case, folder: Path) -> str:
        return judged(lambda: reader.read(folder / GRAPH, REGISTRY.keys()))


class Descriptions:
    """An EmbeddingCollection: the description of its look-ups and its dump."""

    @cached_property
    def original(self) -> Files:
        tables = [[7, 2**62, 9], [-5, 0, 2**63 - 1, 3]]
        sparse = [{"top": top, "slot_num": 1, "nnz_per_slot": [2], "is_fixed_length": False} for top in ("a", "b")]
        data = {"type": "Data", "label": {"top": "label", "label_dim": 1}, "dense": {"top": "dense", "dense_dim": 0}}
        lookups = [
            {"table": 0, "bottom": "a", "top": "va", "combiner": "concat"},
            {"table": [0, 1], "bottom": ["a", "b"], "top": "vb", "combiner": ["sum", "mean"]},
        ]
        graph = {"layers": [{**data, "sparse": sparse}, {"type": "ReLU", "bottom": "va", "top": "ra"}]}
        description = {"path": "dump", "lookups": lookups}
        texts = {GRAPH: json.dumps(graph).encode(), "collection.json": json.dumps(description).encode()}
        return {**texts, **dump_files("dump", tables, [2, 3])}

    def draw(self, random: Random, scratch: Path) -> Case:
        files = dict(self.original)
        for _ in range(random.choice([1, 1, 2])):
            change_folder(random, files, random.choice(["collection.json", "collection.json", GRAPH]))
        if random.random() < 0.3:
            name = random.choice([name for name in files if name.startswith("dump/")] or sorted(files))
            files[name] = change_bytes(random, files[name])
        special = {random.choice(sorted(files)): random.choice(SPECIAL_KINDS)} if random.random() < 0.05 else {}
        return Case("descriptions", files, {"level": random.choice(LEVELS)}, special)

    def attack(self, case: Case, folder: Path) -> str:
        level, description = int(case.facts["level"]), folder / "collection.json"
        return judged(lambda: compile_and_run(folder / GRAPH, {}, level, embedding_collection=description))


@cache
def saved_model(keys: str = "auto") -> Files:
    """A saved ONNX model with data files and a manifest, and the folder that it came from."""
    with TemporaryDirectory() as scratch:
        source = Path(scratch, "source")
        model_files({"layers": MODELS["clicks"]}, source)
        compiled = hugectr2onnx.compile(source / GRAPH, source, 2, simplify=False, keys=keys)
        target = Path(scratch, "saved")
        target.mkdir()
        compiled.save(target / MODEL, external=True)
        inputs = feeds_for(compiled.ir, 4, seed=1)
        content = io.BytesIO()
        arrays: dict[str, Any] = {**inputs, **compiled.run(inputs)}
        np.savez(content, **arrays)
        return {**read_files(target), "recording.npz": content.getvalue()}


class Recordings:
    """Recorded samples, an .npz file, against the interface of a model."""

    @cached_property
    def session(self) -> Any:
        with TemporaryDirectory() as folder:
            path = Case("", dict(saved_model())).write(Path(folder, "m")) / MODEL
            return hugectr2onnx.open_session(path)

    def draw(self, random: Random, scratch: Path) -> Case:
        with np.load(io.BytesIO(saved_model()["recording.npz"])) as loaded:
            arrays: dict[str, Any] = dict(loaded)
        if random.random() < 0.5:
            name = random.choice(sorted(arrays))
            arrays[name] = changed_array(random, arrays[name])
        content = io.BytesIO()
        (np.savez if random.random() < 0.7 else np.savez_compressed)(content, **arrays)
        data = content.getvalue()
        for _ in range(random.choice([0, 1, 1, 2])):
            data = change_bytes(random, data)
        special = {"recording.npz": random.choice(SPECIAL_KINDS)} if random.random() < 0.02 else {}
        return Case("recordings", {"recording.npz": data}, {}, special)

    def attack(self, case: Case, folder: Path) -> str:
        return judged(lambda: read_samples(folder / "recording.npz", self.session))


def changed_array(random: Random, array: Any) -> Any:
    """The array in another type or shape, or with an extreme number."""
    changes: list[Callable[[], Any]] = [
        lambda: array.astype(random.choice(["f2", "f8", "i1", "u8", "U4", "?", "c8", "M8[s]", ">f4"])),
        lambda: array.reshape(-1),
        lambda: array[:1],
        lambda: array[:0],
        lambda: np.asarray(array.reshape(-1)[0]),
        lambda: np.where(
            np.arange(array.size).reshape(array.shape) == 0, random.choice([np.nan, 1e39, -1, 2**63]), array
        ),
        lambda: np.zeros((random.randint(0, 3), 1, random.choice([0, 1, 1 << 20])), "i1"),
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return random.choice(changes)()


class KeyMaps:
    """Files of keys: the map beside a model of row inputs, and the keys that a model is pruned to."""

    def draw(self, random: Random, scratch: Path) -> Case:
        if random.random() < 0.5:
            maps = {name: data for name, data in saved_model("indices").items() if name.endswith(".keys")}
            name, data = random.choice(sorted(maps.items()))
            place = random.randrange(200) if random.random() < 0.6 else random.randrange(len(data))
            data = (
                data[:place] + change_bytes(random, data[place:])
                if random.random() < 0.5
                else change_bytes(random, data)
            )
            return Case("key_maps", {"map.keys": data}, {"file": "map.keys"}, self._special(random, "map.keys"))
        name = random.choice(["keep.npy", "keep.bin"])
        array = changed_array(random, np.arange(-3, 40)) if random.random() < 0.5 else np.arange(-3, 40)
        content = io.BytesIO()
        np.save(content, array) if name == "keep.npy" else content.write(array.tobytes())
        data = change_bytes(random, content.getvalue()) if random.random() < 0.7 else content.getvalue()
        return Case("key_maps", {name: data}, {"file": name}, self._special(random, name))

    def _special(self, random: Random, name: str) -> dict[str, str]:
        return {name: random.choice(SPECIAL_KINDS)} if random.random() < 0.03 else {}

    def attack(self, case: Case, folder: Path) -> str:
        from hugectr2onnx.frontend.weights.key_filter import read_keys

        path = folder / case.facts["file"]
        if path.suffix == ".keys":
            return judged(lambda: self._map(path))
        return judged(lambda: read_keys(path, "keep_keys of emb1"))

    def _map(self, path: Path) -> None:
        mapper = KeyMapper.open(path)
        wanted = (
            np.array([-1, 0, 5, 2**63 - 1]) if not mapper._offsets else np.zeros((2, len(mapper._offsets), 1), np.int64)
        )
        mapper.rows(wanted)
        len(mapper)


class OnnxFiles:
    """A saved model: its ONNX file, its data files, key maps and manifest; inspected, opened and run, or verified."""

    @cached_property
    def source(self) -> Path:
        self._folder = TemporaryDirectory()
        source = Path(self._folder.name, "source")
        model_files({"layers": MODELS["clicks"]}, source)
        return source

    def draw(self, random: Random, scratch: Path) -> Case:
        keys = random.choice(["auto", "indices"])
        files = {name: data for name, data in saved_model(keys).items() if name != "recording.npz"}
        for _ in range(random.choice([1, 1, 2])):
            name = MODEL if random.random() < 0.6 else random.choice(sorted(files))
            if random.random() < 0.1:
                change_files(random, files)
            elif name in files:
                files[name] = change_bytes(random, files[name])
        special = {random.choice(sorted(files)): random.choice(SPECIAL_KINDS)} if random.random() < 0.05 else {}
        return Case("onnx_files", files, {"verb": random.choice(["inspect", "open", "verify"])}, special)

    def attack(self, case: Case, folder: Path) -> str:
        path = folder / MODEL
        if case.facts["verb"] == "inspect":
            return judged(lambda: inspect_onnx(path).to_dict())
        if case.facts["verb"] == "open":
            return judged(lambda: hugectr2onnx.open_session(path))
        try:
            return judged(lambda: verify(path, self.source / GRAPH, self.source))
        except ParityError:
            return "refused"  # the file computes something else than the model: that is the answer that was asked for


class Arguments:
    """Python values of any type in place of the arguments of `compile`."""

    NAMES = (
        "graph", "weights", "opt_level", "convert_embedding", "input_shapes", "layer_attrs", "slot_size_array", "n_gpus",
        "keys", "keep_keys", "embedding", "embedding_collection", "opset",
    )  # fmt: skip

    @cached_property
    def source(self) -> Files:
        with TemporaryDirectory() as scratch:
            return model_files({"layers": MODELS["tasks"]}, Path(scratch, "m"))

    def draw(self, random: Random, scratch: Path) -> Case:
        given = {name: any_value(random) for name in random.sample(self.NAMES, random.choice([1, 1, 2]))}
        for name, value in given.items():
            if random.random() < 0.3:
                given[name] = {random.choice(["emb1", "dense", "", "label"]): value}
        return Case("arguments", self.source, {"given": given})

    def attack(self, case: Case, folder: Path) -> str:
        given = {"graph": folder / GRAPH, "weights": folder, "opt_level": 0, "simplify": False, **case.facts["given"]}
        try:
            return judged(lambda: hugectr2onnx.compile(**given))
        except TypeError as error:
            if not raised_by_us(error):
                raise
            return "refused"


def raised_by_us(error: BaseException) -> bool:
    """Whether a `raise` of the package made an exception, so that its words are ours."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None or "hugectr2onnx" not in trace.tb_frame.f_code.co_filename:
        return False
    lines = Path(trace.tb_frame.f_code.co_filename).read_text(encoding="utf-8").splitlines()
    return "raise" in lines[trace.tb_lineno - 1]


TARGETS: Mapping[str, Target] = {
    "folders": Folders(),
    "texts": Texts(),
    "descriptions": Descriptions(),
    "recordings": Recordings(),
    "key_maps": KeyMaps(),
    "onnx_files": OnnxFiles(),
    "arguments": Arguments(),
}
SHARES: Mapping[str, int] = {
    "folders": 60, "texts": 10, "descriptions": 10, "recordings": 5, "key_maps": 5, "onnx_files": 5, "arguments": 5,
}  # fmt: skip
"""Of a hundred cases; most go where most code is."""
