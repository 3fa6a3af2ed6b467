"""The texts of an HPS deployment: ps.json, and the config.pbtxt of its three models (formats 6.1, 6.2 and 6.4)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from hugectr2onnx.passes.lookups.hps_inputs import KEYS_INPUT, VECTORS_INPUT
from hugectr2onnx.stores.hps_layout import COUNTS_INPUT, HpsLayout

REFRESHED = 0.2
"""The part of the GPU cache that is refreshed at a time, as in NVIDIA's samples."""
_TYPES = {"float32": "TYPE_FP32", "int64": "TYPE_INT64", "int32": "TYPE_INT32"}


@dataclass(frozen=True)
class HpsSettings:
    """The settings of a deployment. `gpus`: their numbers; `gpu_cache`: the share of each table in the cache of a GPU."""

    max_batch_size: int = 1024
    gpus: tuple[int, ...] = (0,)
    instances: int = 1
    gpu_cache: float = 1.0


def embeddings_name(model: str) -> str:
    return f"{model}_embeddings"


def dense_name(model: str) -> str:
    return f"{model}_dense"


def ps_json(layout: HpsLayout, sparse_files: Sequence[str], settings: HpsSettings) -> str:
    """Return the configuration of HPS; `sparse_files` are the tables' folders where the server has them."""
    tables = layout.tables
    model = {
        "model": embeddings_name(layout.model),
        "sparse_files": list(sparse_files),
        "embedding_table_names": [table.table for table in tables],
        "embedding_vecsize_per_table": [table.width for table in tables],
        "maxnum_catfeature_query_per_table_per_sample": [table.block.keys for table in tables],
        "default_value_for_each_table": [float(table.default) for table in tables],
        "deployed_device_list": list(settings.gpus),
        "max_batch_size": settings.max_batch_size,
        "gpucache": True,
        "gpucacheper": settings.gpu_cache,
        # Below this rate HPS answers with defaults for rows that it has not cached yet.
        "hit_rate_threshold": 1.0,
        "num_of_worker_buffer_in_pool": max(2, settings.instances * len(settings.gpus)),
        "num_of_refresher_buffer_in_pool": 1,
        "cache_refresh_percentage_per_iteration": REFRESHED,
    }
    return json.dumps({"supportlonglong": True, "models": [model]}, indent=2) + "\n"


def embeddings_config(layout: HpsLayout, settings: HpsSettings) -> str:
    """Return the model of the backend `hps`: keys in, rows out."""
    gpus = ", ".join(map(str, settings.gpus))
    return "\n".join(
        [
            f"name: {_text(embeddings_name(layout.model))}",
            'backend: "hps"',
            "max_batch_size: 0",
            _tensors("input", [("KEYS", "int64", (-1, -1)), ("NUMKEYS", "int32", (-1, -1))]),
            _tensors("output", [("OUTPUT0", "float32", (-1,))]),
            f"instance_group [ {{ count: {settings.instances} kind: KIND_GPU gpus: [ {gpus} ] }} ]",
            "version_policy: { specific: { versions: 1 } }",
            "",
        ]
    )


def dense_config(layout: HpsLayout, outputs: Sequence[tuple[str, tuple[int, ...]]]) -> str:
    """Return the dense part on onnxruntime, on the CPU."""
    given = [(VECTORS_INPUT, "float32", (-1,)), (KEYS_INPUT, "int64", (-1, -1)), *_dense_inputs(layout)]
    return "\n".join(
        [
            f"name: {_text(dense_name(layout.model))}",
            'backend: "onnxruntime"',
            "max_batch_size: 0",
            _tensors("input", given),
            _tensors("output", [(name, "float32", shape) for name, shape in outputs]),
            "instance_group [ { count: 1 kind: KIND_CPU } ]",
            "version_policy: { specific: { versions: 1 } }",
            "",
        ]
    )


def ensemble_config(layout: HpsLayout, outputs: Sequence[tuple[str, tuple[int, ...]]]) -> str:
    """Both one after the other; the dense part reads the keys too, to tell padding."""
    given = [(KEYS_INPUT, "int64", (-1, -1)), (COUNTS_INPUT, "int32", (-1, -1)), *_dense_inputs(layout)]
    direct = {name: name for name in (VECTORS_INPUT, KEYS_INPUT, *layout.dense)}
    steps = [
        _step(embeddings_name(layout.model), {"KEYS": KEYS_INPUT, "NUMKEYS": COUNTS_INPUT}, {"OUTPUT0": VECTORS_INPUT}),
        _step(dense_name(layout.model), direct, {name: name for name, _ in outputs}),
    ]
    return "\n".join(
        [
            f"name: {_text(layout.model)}",
            'platform: "ensemble"',
            "max_batch_size: 0",
            _tensors("input", given),
            _tensors("output", [(name, "float32", shape) for name, shape in outputs]),
            "ensemble_scheduling {",
            "  step [",
            ",\n".join(steps),
            "  ]",
            "}",
            "",
        ]
    )


def _dense_inputs(layout: HpsLayout) -> list[tuple[str, str, tuple[int, ...]]]:
    known = {entry.name: entry for entry in layout.inputs}
    return [
        (name, known[name].dtype, tuple(dim if isinstance(dim, int) else -1 for dim in known[name].shape))
        for name in layout.dense
    ]


def _tensors(kind: str, tensors: Sequence[tuple[str, str, tuple[int, ...]]]) -> str:
    entries = [
        f"  {{ name: {_text(name)} data_type: {_TYPES[dtype]} dims: [ {', '.join(map(str, shape))} ] }}"
        for name, dtype, shape in tensors
    ]
    return f"{kind} [\n" + ",\n".join(entries) + "\n]"


def _step(model: str, inputs: dict[str, str], outputs: dict[str, str]) -> str:
    maps = [f"      input_map {{ key: {_text(key)} value: {_text(value)} }}" for key, value in inputs.items()]
    maps += [f"      output_map {{ key: {_text(key)} value: {_text(value)} }}" for key, value in outputs.items()]
    return "\n".join(["    {", f"      model_name: {_text(model)}", "      model_version: -1", *maps, "    }"])


def _text(value: str) -> str:
    """Return a string of protobuf's text format: JSON's escapes are among its own."""
    return json.dumps(value, ensure_ascii=False)
