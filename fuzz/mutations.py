"""Changes of bytes, of JSON values, of graphs and of whole folders. Each takes a `Random`, so that a seed repeats it.

The hostile tests draw the same changes through hypothesis, whose `Random` shrinks what fails.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, MutableMapping
from random import Random
from typing import Any

Files = MutableMapping[str, bytes]

SPECIAL: list[Any] = [
    None, True, False, -1, 0, 1, 2, 2**31 - 1, -(2**31), 2**31, 2**63 - 1, -(2**63), 2**64, 10**300, 0.5, -1.5, 1e-45,
    1e-300, 3.4e38, 1e39, 1e308, -1e308, "", " ", "\0", "\ud800", "loss", "a/b", "é", "N", [], [[]], {}, [0], [-1, 4],
    [[0, 1], [1, 2]], [[1, 0]], {"": None}, "Relu", "None", "Dropout", "Slice", "Add", "Concat", "Gather",
    "DistributedSlotSparseEmbeddingHash",
]  # fmt: skip
EXTREMES = (
    b"\xff" * 8,
    b"\0\0\x80\x7f" * 2,
    b"\xff" * 7 + b"\x7f",
    b"\xff\xff\x7f\x7f",
    b"\0" * 8,
    b"\0" * 7 + b"\x80",
)
"""Floats that are not finite or hardly so, and integers at the ends of their range."""
LETTERS = 'aZ0 _/.é\0"\\{}[]:,\u2028\U0001f600'


def any_value(random: Random) -> Any:
    """Some JSON value, often one that breaks things."""
    draws: list[Callable[[], Any]] = [
        lambda: copy.deepcopy(random.choice(SPECIAL)),
        lambda: random.randint(0, 40),
        lambda: random.uniform(-2, 40),
        lambda: [random.randint(-1, 20) for _ in range(random.randint(0, 4))],
        lambda: "".join(random.choice(LETTERS) for _ in range(random.randint(0, 3))),
    ]
    return random.choice(draws)()


def containers(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every (list or object, index or key) of a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield value, key
        yield from containers(item)


def is_number(value: Any) -> bool:
    """Whether a value is a number or a list of numbers."""
    return all(isinstance(item, int | float) for item in (value if isinstance(value, list) else [value]))


def of_the_same_kind(random: Random, old: Any, places: list[tuple[Any, Any]]) -> Any:
    """A value that the first checks let pass: another name of the graph, another number, a list that is longer."""
    if isinstance(old, list) and old and not is_number(old):
        changed = random.choice([old, [*old, *old[:1]]]).copy()
        random.shuffle(changed)
        return random.choice([changed, old[1:]])
    if isinstance(old, list):
        return [random.randint(0, 6) for _ in range(random.randint(1, 4))]
    if isinstance(old, bool) or old is None:
        return random.choice([False, True])
    if isinstance(old, str):
        return random.choice([holder[key] for holder, key in places if isinstance(holder[key], str)])
    if isinstance(old, float):
        return random.choice([random.uniform(-2, 2), 0.0, 1e-45, 3e38, 1e-30])
    return random.randint(0, 12) if isinstance(old, int) else any_value(random)


def change_bytes(random: Random, content: bytes) -> bytes:
    """The content with a byte changed, a part cut off or put in, or an extreme number in place of another."""
    at = random.randint(0, len(content))
    change = random.choice(["flip", "cut", "insert", "overwrite", "repeat"])
    if change == "cut":
        return content[:at]
    if change == "insert":
        return content[:at] + random.randbytes(random.randint(0, 9)) + content[at:]
    if change == "overwrite":
        extreme = random.choice(EXTREMES)
        at -= at % 4
        return content[:at] + extreme + content[at + len(extreme) :]
    if change == "repeat":
        end = min(len(content), at + random.randint(1, 64))
        return content[:end] + content[at:end] * random.randint(1, 3) + content[end:]
    return content[:at] + bytes(byte ^ random.randint(1, 255) for byte in content[at : at + 1]) + content[at + 1 :]


def change_json(random: Random, kind: str, content: bytes) -> bytes:
    """JSON text with one value changed: `kind` is tweak, value, copy, remove or layers."""
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        return content
    places = list(containers(value))
    if not places:
        return content
    if kind == "layers":
        change_layers(random, value)
        return json.dumps(value).encode()
    holder, key = random.choice(places)
    if kind == "remove":
        del holder[key]
    elif kind == "copy":
        other, where = random.choice(places)
        holder[key] = copy.deepcopy(other[where])
    elif kind == "tweak":
        numbers = [(holder, key) for holder, key in places if is_number(holder[key])]
        holder, key = random.choice(numbers) if numbers and random.randint(0, 4) else (holder, key)
        holder[key] = of_the_same_kind(random, holder[key], places)
    else:
        holder[key] = any_value(random)
    return json.dumps(value).encode()


def change_layers(random: Random, value: Any) -> None:
    """Delete, double, swap or move a layer of a graph."""
    layers = value.get("layers") if isinstance(value, dict) else None
    if not isinstance(layers, list) or not layers:
        return
    one, other = (random.randint(0, len(layers) - 1) for _ in range(2))
    change = random.choice(["delete", "double", "swap", "move"])
    if change == "delete":
        del layers[one]
    elif change == "double":
        layers.insert(other, copy.deepcopy(layers[one]))
    elif change == "swap":
        layers[one], layers[other] = layers[other], layers[one]
    else:
        layers.insert(other, layers.pop(one))


def change_files(random: Random, files: Files) -> None:
    """Swap two files, remove one or empty one."""
    one, other = random.choice(sorted(files)), random.choice(sorted(files))
    change = random.choice(["swap", "remove", "empty"])
    if change == "swap":
        files[one], files[other] = files[other], files[one]
    elif change == "empty":
        files[one] = b""
    elif len(files) > 1:
        del files[one]


JSON_CHANGES = ("tweak", "tweak", "tweak", "tweak", "value", "value", "copy", "remove", "layers")


def change_folder(random: Random, files: Files, graph: str) -> None:
    """One change of a folder: of its JSON (mostly of `graph`), of any bytes, or of its files."""
    kind = random.choice([*JSON_CHANGES, "bytes", "files"])
    if kind == "files":
        change_files(random, files)
    elif kind == "bytes":
        name = random.choice(sorted(files))
        files[name] = change_bytes(random, files[name])
    else:
        texts = sorted(name for name in files if name.endswith(".json"))
        name = graph if graph in files and random.randint(0, 9) else random.choice([*texts, ""])
        if name in files:
            files[name] = change_json(random, kind, files[name])
