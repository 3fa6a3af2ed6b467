"""NVIDIA's `converter.convert`, as a thin face over `hugectr2onnx.compile`.

    python -m hugectr2onnx.converter --onnx_model_path wdl.onnx --graph_config wdl.json --dense_model wdl_dense_2000.model \\
        --convert_embedding 1 --sparse_models wdl0_sparse_2000.model wdl1_sparse_2000.model
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from hugectr2onnx.errors import HugeCTR2ONNXError

if TYPE_CHECKING:
    from hugectr2onnx.frontend.graph_json.json_text import StrPath


def convert(
    onnx_model_path: StrPath,
    graph_config: StrPath,
    dense_model: StrPath,
    convert_embedding: bool = False,
    sparse_models: Sequence[StrPath] | StrPath | None = None,
    ntp_file: StrPath | None = None,
    graph_name: str = "hugectr",
) -> None:
    """Convert a HugeCTR model to an ONNX file; signature, order and interface are those of NVIDIA's converter.

    Inputs: `dense` float32 [N, dense_dim], kept with dense_dim 0 because its users pick inputs by position, then the keys
    int64 [N, slot_num, max_nnz] of each sparse top, or with `convert_embedding=False` the vectors float32 [N, slot, vec]
    of each embedding. One output for each loss, named after its label. Raises HugeCTR2ONNXError.
    """
    from hugectr2onnx.compiler import compile
    from hugectr2onnx.frontend.weights.snapshot import Weights

    weights = Weights(dense=dense_model, sparse=sparse_models or (), ntp=ntp_file or None)
    compiled = compile(
        graph_config, weights, convert_embedding=convert_embedding, graph_name=graph_name, keep_empty_dense=True
    )
    compiled.save(onnx_model_path)


def main(arguments: Sequence[str] | None = None) -> int:
    """NVIDIA's command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m hugectr2onnx.converter", description="Convert HugeCTR models to ONNX."
    )
    parser.add_argument("--onnx_model_path", required=True, help="the ONNX file to write")
    parser.add_argument("--graph_config", required=True, help="the graph JSON")
    parser.add_argument("--dense_model", required=True, help="the dense file")
    parser.add_argument(
        "--convert_embedding", type=_flag, nargs="?", const=True, default=False, help="convert the tables too"
    )
    parser.add_argument("--sparse_models", nargs="*", default=[], help="the folders of the tables, in JSON order")
    parser.add_argument("--ntp_file", default="", help="the ntp JSON, with BatchNorm")
    parser.add_argument("--graph_name", default="hugectr", help="the name of the ONNX graph")
    given = parser.parse_args(arguments)
    try:
        convert(**vars(given))
    except HugeCTR2ONNXError as error:
        sys.stderr.write(f"{error.describe()}\n")
        return error.exit_code
    return 0


def _flag(text: str) -> bool:
    if text.lower() in ("1", "true", "yes"):
        return True
    if text.lower() in ("0", "false", "no"):
        return False
    raise argparse.ArgumentTypeError(f"{text!r} is neither 0 nor 1")


if __name__ == "__main__":
    sys.exit(main())
