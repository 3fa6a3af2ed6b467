"""From what messages ask for in Python's words to the flags of the command line."""

from __future__ import annotations

FLAGS = {
    "Weights(": "--weights FOLDER, or --dense FILE --sparse FOLDER... --ntp FILE",
    "layer_attrs": """--layer-attrs '{"TOP": {"NAME": VALUE}}'""",
    "input_shapes": "--input-shape NAME=N,26,16",
    "convert_embedding=False": "--no-embedding",
    "n_gpus": "--n-gpus N",
    "prefix=": "--prefix PREFIX",
    "iteration=": "--iteration N",
    "key_bytes": "--key-bytes 4 or 8",
    "embedding_collection": "--embedding-collection FILE.json",
    "keep_keys": "--keep-keys TOP=FILE",
    'embedding="': "--embedding FORMAT",
    "embedding={": "--embedding TOP=FORMAT",
    "keys=": "--keys STRATEGY",
    "shard_size": "--shard-size 2GB",
    "check=False": "--no-check",
    "slot_size_array has": "--slot-size-array 10,0,4",
}
"""What messages call by its name in Python, and the flag for it."""


def flags_for(message: str) -> list[str]:
    """A line with the flags for what a message asks for, if it asks for anything."""
    flags = [flag for name, flag in FLAGS.items() if name in message]
    return [f"  on the command line: {', '.join(flags)}"] if flags else []
