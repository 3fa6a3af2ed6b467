"""The command line. Nothing heavy is imported before a verb runs: `hugectr2onnx --help` must be quick."""

from __future__ import annotations

from collections.abc import Sequence

VERBS = {
    "compile": "compile a HugeCTR model to an ONNX file and prove the result",
    "check": "a dry run: list everything that is wrong with a model at once",
    "inspect": "show what a HugeCTR model or an ONNX file holds",
    "verify": "compare an ONNX file with the HugeCTR model that it came from",
    "update": "compile the next snapshot of a model's graph with the model's own options, and tell what changed",
    "compare": "compare two forms of a model layer by layer, and name the first layer at which they part",
    "bisect": "find the first pass, and the first fire of a rule, that changes what a model computes",
    "bench": "measure the latency of ONNX files in turn, and where the time goes",
    "report": "write everything about an ONNX file as a page: layers, passes, proof, tables, latency, metrics",
    "diff": "compare what two ONNX files hold: operators, layers, weights, options, sizes",
    "predict": "predict a data set: Parquet, Norm, Raw, npz, CSV or Arrow",
    "evaluate": "work out AUC, log-loss and more on a labelled data set",
    "table": "show, look up or write the keys and rows of an embedding table",
    "draw": "draw a model, before and after the passes, or an ONNX file",
    "serve": "serve a converted model over HTTP by the Open Inference Protocol, for trying",
    "export": "write a converted model in the form that a server or a store takes",
    "manifest": "compare a folder of models with its manifest, write it anew, or remove what killed saves left",
    "layers": "list the supported layer types",
    "sample": "write a HugeCTR model folder with random weights, for trying",
    "demo": "sample model, compiled, checked, run and timed: start here",
    "completion": "print a script that completes verbs and flags in bash or zsh",
    "help": "explain a verb",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    0 fine, 2 wrong usage, 3 invalid input, 4 unsupported, 5 parity failed, 130 interrupted, 143 and 129 ended by
    SIGTERM and SIGHUP.
    """
    from hugectr2onnx.cli.entry import run

    return run(argv, VERBS)
