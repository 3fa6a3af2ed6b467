"""`interface="csr"` and `"hugectr"`: the sums of slots of any width, by hand, at every level and for every key strategy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hugectr2onnx
from hugectr2onnx.backend.runtime import sessions
from hugectr2onnx.errors import FeedError, OptionError, UnsupportedError
from hugectr2onnx.verification.result import FileDiffersError
from hugectr2onnx.verification.verify_file import verify

ROWS, PADDING = 60, -1
MAX = 2**63 - 1
SLOTS, WIDTHS = {"a": 3, "b": 2}, {"a": 4, "b": 1}
COMBINERS = {"a": "sum", "b": "mean"}
KEYS = {top: np.random.default_rng(place).permutation(ROWS) for place, top in enumerate(SLOTS)}
DENSE_DIM = 2


def vectors(top: str) -> np.ndarray:
    return np.random.default_rng(7).normal(size=(ROWS, WIDTHS[top])).astype("<f4")


def write(
    folder: Path, keys: dict[str, np.ndarray] = KEYS, *, nnz: int = 3, combiners: Any = COMBINERS
) -> tuple[Any, Path]:
    """A model of two tables whose prediction is all pooled vectors and the dense values, side by side."""
    label, dense = {"top": "label", "label_dim": 1}, {"top": "dense", "dense_dim": DENSE_DIM}
    sparse = [
        {"top": top, "slot_num": slots, "nnz_per_slot": [nnz] * slots, "is_fixed_length": False}
        for top, slots in SLOTS.items()
    ]
    layers: list[Any] = [{"type": "Data", "label": label, "dense": dense, "sparse": sparse}]
    for top in SLOTS:
        hparam = {"embedding_vec_size": WIDTHS[top], "combiner": combiners[top]}
        layers.append(
            {
                "type": "DistributedSlotSparseEmbeddingHash",
                "bottom": top,
                "top": f"e{top}",
                "sparse_embedding_hparam": hparam,
            }
        )
    for top, slots in SLOTS.items():
        layers.append({"type": "Reshape", "bottom": f"e{top}", "top": f"r{top}", "leading_dim": slots * WIDTHS[top]})
    layers.append({"type": "Concat", "bottom": ["ra", "rb", "dense"], "top": "all"})
    for place, top in enumerate(SLOTS):
        table = folder / f"m{place}_sparse_1.model"
        table.mkdir()
        keys[top].astype("<i8").tofile(table / "key")
        vectors(top)[: len(keys[top])].tofile(table / "emb_vector")
    (folder / "m_dense_1.model").write_bytes(b"")
    (folder / "m.json").write_text(json.dumps({"layers": layers}))
    return folder / "m.json", folder


Request = dict[str, list[list[list[int]]]]
"""The keys of each slot of each sample of each top."""


def pooled(
    request: Request,
    dense: np.ndarray,
    *,
    keys: dict[str, np.ndarray] = KEYS,
    offsets: dict[str, tuple[int, ...]] | None = None,
    padding: int | None = None,
    missing: float = 0.0,
) -> np.ndarray:
    """By hand: rows by key with its slot's offset; padding adds nothing and is not counted."""
    columns = []
    for top in SLOTS:
        known = {int(key): row for key, row in zip(keys[top], vectors(top).astype(np.float64), strict=False)}
        for slot in range(SLOTS[top]):
            result = np.zeros((len(dense), WIDTHS[top]))
            for sample, slots in enumerate(request[top]):
                own = [key for key in slots[slot] if (key >= 0 if padding is None else key != padding)]
                moved = [min(key + (offsets[top][slot] if offsets else 0), MAX) for key in own]
                total = sum((known.get(key, np.full(WIDTHS[top], missing)) for key in moved), np.zeros(WIDTHS[top]))
                result[sample] = total / max(len(own), 1) if COMBINERS[top] == "mean" else total
            columns.append(result)
    return np.concatenate([*columns, dense], axis=1)


def flat(slots: list[list[list[int]]]) -> tuple[np.ndarray, np.ndarray]:
    """All keys, and where those of each slot of each sample begin."""
    each = [keys for sample in slots for keys in sample]
    return np.array([key for keys in each for key in keys], np.int64), np.cumsum([0, *map(len, each)]).astype(np.int64)


def csr(request: Request, dense: np.ndarray) -> dict[str, np.ndarray]:
    feeds = {"dense": dense}
    for top, slots in request.items():
        feeds[top], feeds[f"{top}.offsets"] = flat(slots)
    return feeds


def hugectr(request: Request, dense: np.ndarray) -> dict[str, np.ndarray]:
    parts = [flat(request[top]) for top in SLOTS]
    return {
        "DES": dense.reshape(-1),
        "CATCOLUMN": np.concatenate([keys for keys, _ in parts]),
        "ROWINDEX": np.concatenate([offsets for _, offsets in parts]).astype(np.int32),
    }


FORMS = {"csr": csr, "hugectr": hugectr}


def request(kind: str, seed: int = 0) -> tuple[Request, np.ndarray]:
    """Keys of the tables, unknown ones and negative ones; `kind` says how many a slot has."""
    random = np.random.default_rng(seed)
    batch = 1 if kind == "one sample" else 5
    most = {"empty": 0, "one key": 1, "one sample": 9, "few": 4, "one wide slot": 3}[kind]
    sizes = {top: random.integers(most == 1, most + 1, (batch, slots)) for top, slots in SLOTS.items()}
    if kind == "one wide slot":
        sizes["a"][2, 1], sizes["b"][3, 0] = 1000, 37
    drawn: Request = {
        top: [[[int(key) for key in random.integers(-3, ROWS + 9, size)] for size in sample] for sample in sizes[top]]
        for top in SLOTS
    }
    return drawn, random.normal(size=(batch, DENSE_DIM)).astype(np.float32)


@pytest.mark.parametrize("kind", ["empty", "one key", "one sample", "few", "one wide slot"])
@pytest.mark.parametrize("interface", FORMS)
@pytest.mark.parametrize("level", [0, 1, 2, 3])
def test_slots_of_any_width_at_every_level(level: int, interface: str, kind: str, tmp_path: Path) -> None:
    compiled = hugectr2onnx.compile(*write(tmp_path), level, interface=interface)
    asked, dense = request(kind)
    (found,) = compiled.run(FORMS[interface](asked, dense)).values()
    np.testing.assert_allclose(found, pooled(asked, dense), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("strategy", ["auto", "direct", "label-encoder", "perfect-hash", "indices"])
@pytest.mark.parametrize("interface", FORMS)
def test_every_strategy(interface: str, strategy: str, tmp_path: Path) -> None:
    if (interface, strategy) == ("hugectr", "indices"):
        with pytest.raises(UnsupportedError, match="CATCOLUMN holds the keys of all tables"):
            hugectr2onnx.compile(*write(tmp_path), interface=interface, keys=strategy)
        return
    compiled = hugectr2onnx.compile(*write(tmp_path), interface=interface, keys=strategy)
    asked, dense = request("few")
    feeds = FORMS[interface](asked, dense)
    if strategy == "indices":
        compiled.save(tmp_path / "m.onnx")
        for top in SLOTS:
            feeds[top] = hugectr2onnx.KeyMapper.open(tmp_path / "m.onnx", top).rows(feeds[top])
    (found,) = compiled.run(feeds).values()
    np.testing.assert_allclose(found, pooled(asked, dense), rtol=1e-5, atol=1e-5)


SIZES = [10, 20, 5, 7, 30]
"""slot_size_array of the five slots of both tops: what is added to their keys follows."""
MOVES = {"a": (0, 10, 30), "b": (35, 42)}


@pytest.mark.parametrize("padding_key", [None, 5])
@pytest.mark.parametrize("missing", [0.0, 0.5])
@pytest.mark.parametrize("interface", FORMS)
@pytest.mark.parametrize("level", [0, 2])
def test_offsets_of_slots_the_padding_key_and_default_vectors(
    level: int, interface: str, missing: float, padding_key: int | None, tmp_path: Path
) -> None:
    """Keys of a table that holds negative ones too, if one key alone is padding; 5 is then a key where an offset makes it."""
    keys = KEYS if padding_key is None else {top: KEYS[top] - 20 for top in KEYS}
    options: dict[str, Any] = {"slot_size_array": SIZES, "padding_key": padding_key, "default_embedding": missing}
    compiled = hugectr2onnx.compile(*write(tmp_path, keys), level, interface=interface, **options)
    asked, dense = request("few")
    asked["a"][0][1] += [5, -5, MAX, -(2**63), MAX - 10]
    (found,) = compiled.run(FORMS[interface](asked, dense)).values()
    wanted = pooled(asked, dense, keys=keys, offsets=MOVES, padding=padding_key, missing=missing)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("format", ["fp16", "int8"])
@pytest.mark.parametrize("level", [1, 3])
def test_row_formats_are_those_of_the_padded_form(level: int, format: str, tmp_path: Path) -> None:
    model = write(tmp_path)
    asked, dense = request("few")
    given = {"csr": csr(asked, dense), "padded": {"dense": dense}}
    for top, slots in asked.items():
        given["padded"][top] = np.array(
            [[[*keys, *[PADDING] * (9 - len(keys))] for keys in sample] for sample in slots]
        )
    found = [
        hugectr2onnx.compile(*model, level, interface=interface, embedding=format).run(feeds)["all"]
        for interface, feeds in given.items()
    ]
    np.testing.assert_allclose(*found, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("interface", FORMS)
def test_verify_compares_whole_tables_and_finds_one_row(interface: str, tmp_path: Path) -> None:
    model = write(tmp_path, {"a": KEYS["a"], "b": KEYS["b"] + sum(SIZES[:3])})
    hugectr2onnx.compile(*model, interface=interface, slot_size_array=SIZES).save(tmp_path / "m.onnx")
    result = verify(tmp_path / "m.onnx", *model)
    assert [(table.table, table.keys, table.not_compared) for table in result.tables] == [
        ("ea", ROWS, ""),
        ("eb", ROWS, ""),
    ]
    changed = vectors("a")
    changed[17] += 1
    changed.tofile(tmp_path / "m0_sparse_1.model" / "emb_vector")
    with pytest.raises(FileDiffersError, match="ea"):
        verify(tmp_path / "m.onnx", *model)


@pytest.mark.parametrize(
    ("name", "offsets", "message"),
    [
        ("a.offsets", [0, 2, 1, 3], "falls from 2 to 1 at entry 2"),
        ("a.offsets", [0, 1, 2, 2], "ends with 2, and a has 3 keys"),
        ("a.offsets", [1, 1, 2, 3], r"begins with \[1\]"),
        ("a.offsets", [0, 1, 3], "has 3 entries; give 3 for each sample and one more"),
        ("b.offsets", [0, 1, 2, 2, 2], r"input dense has 1 samples and input b\.offsets has 2"),
    ],
)
def test_offsets_that_are_none_are_refused(name: str, offsets: list[int], message: str, tmp_path: Path) -> None:
    compiled = hugectr2onnx.compile(*write(tmp_path), interface="csr", simplify=False)
    feeds = csr({"a": [[[1], [2], [3]]], "b": [[[1], [2]]]}, np.zeros((1, 2), np.float32))
    with pytest.raises(FeedError, match=message):
        compiled.run({**feeds, name: np.array(offsets)})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ROWINDEX": [0, 1, 2, 3, 0, 1]}, r"has 6 entries; give \(N \* 3 \+ 1\) \+ \(N \* 2 \+ 1\) for N samples"),
        ({"ROWINDEX": [0, 1, 2, 3, 0, 1, 3]}, "ends with 6, and CATCOLUMN has 5 keys"),
        ({"ROWINDEX": [0, 3, 2, 3, 0, 1, 2]}, "falls from 3 to 2"),
        ({"DES": [1.0, 2.0, 3.0]}, "DES has 3 numbers, which is no multiple of 2"),
        ({"DES": [1.0, 2.0, 3.0, 4.0]}, "input ROWINDEX has 1 samples and input DES has 2"),
    ],
)
def test_requests_of_the_hugectr_form_that_are_none_are_refused(changes: Any, message: str, tmp_path: Path) -> None:
    compiled = hugectr2onnx.compile(*write(tmp_path), interface="hugectr", simplify=False)
    feeds = hugectr({"a": [[[1], [2], [3]]], "b": [[[1], [2]]]}, np.zeros((1, 2), np.float32))
    with pytest.raises(FeedError, match=message):
        compiled.run({**feeds, **changes})


def test_clients_of_the_inference_backend_may_send_a_batch_of_one_vector(tmp_path: Path) -> None:
    compiled = hugectr2onnx.compile(*write(tmp_path), interface="hugectr")
    asked, dense = request("few")
    (found,) = compiled.run({name: array[None] for name, array in hugectr(asked, dense).items()}).values()
    np.testing.assert_allclose(found, pooled(asked, dense), rtol=1e-5, atol=1e-5)


def test_a_file_of_pairs_refuses_offsets_beyond_its_keys(tmp_path: Path) -> None:
    hugectr2onnx.compile(*write(tmp_path), interface="csr").save(tmp_path / "m.onnx")
    asked, dense = request("few")
    feeds = csr(asked, dense)
    feeds["a.offsets"] = feeds["a.offsets"] + np.arange(len(feeds["a.offsets"]))
    with pytest.raises(FeedError, match=r"input a\.offsets ends with"):
        sessions.run(sessions.open_session(tmp_path / "m.onnx"), feeds)


def test_the_form_stands_in_the_metadata(tmp_path: Path) -> None:
    compiled = hugectr2onnx.compile(*write(tmp_path), interface="csr")
    metadata = {entry.key: entry.value for entry in compiled.artifact.skeleton.metadata_props}
    assert json.loads(metadata["hugectr2onnx.options"])["interface"] == "csr"
    assert [entry.name for entry in compiled.artifact.skeleton.graph.input] == [
        "dense",
        "a",
        "a.offsets",
        "b",
        "b.offsets",
    ]


def test_only_standard_operators(tmp_path: Path) -> None:
    compiled = hugectr2onnx.compile(*write(tmp_path), interface="hugectr", keys="direct")
    assert {entry.domain for entry in compiled.artifact.skeleton.opset_import} == {""}


def test_vectors_as_inputs_have_no_form_of_keys(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"convert_embedding=False, so that no keys come in"):
        hugectr2onnx.compile(*write(tmp_path), interface="csr", convert_embedding=False)


def test_a_form_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="it must be one of padded, csr, hugectr"):
        hugectr2onnx.compile(*write(tmp_path), interface="coo")


def test_keys_that_offsets_put_out_of_reach_are_no_difference(tmp_path: Path) -> None:
    """The slots of b add 35 and more, so that no key of a request is one of the first 35 of its table."""
    model = write(tmp_path)
    hugectr2onnx.compile(*model, slot_size_array=SIZES, simplify=False).save(tmp_path / "m.onnx")
    assert [table.unexpected for table in verify(tmp_path / "m.onnx", *model).tables] == [0, 0]
