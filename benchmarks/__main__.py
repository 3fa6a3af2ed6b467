"""`python -m benchmarks VERB`: figures to stdout, progress to stderr."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from benchmarks.arguments import parser


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0 done, 1 slower than the baseline, else that of the error."""
    arguments = parser().parse_args(argv)
    # The compilations run in processes of their own, whose peak memory would begin at the size of this one.
    if arguments.verb == "compile":
        from benchmarks import compile_command as command
    elif arguments.verb == "convert":
        from benchmarks import convert_command as command  # type: ignore[no-redef]
    elif arguments.verb == "thresholds":
        from benchmarks import thresholds_command as command  # type: ignore[no-redef]
    elif arguments.verb == "interfaces":
        from benchmarks import interfaces_command as command  # type: ignore[no-redef]
    elif arguments.verb == "predict":
        from benchmarks import predict_command as command  # type: ignore[no-redef]
    elif arguments.verb == "serving":
        from benchmarks import serving_command as command  # type: ignore[no-redef]
    elif arguments.verb == "stores":
        from benchmarks import stores_command as command  # type: ignore[no-redef]
    elif arguments.verb == "precision":
        from benchmarks import precision_command as command  # type: ignore[no-redef]
    elif arguments.verb == "quality":
        from benchmarks import quality_command as command  # type: ignore[no-redef]
    elif arguments.verb == "redraw":
        from benchmarks import redraw as command  # type: ignore[no-redef]
    else:
        from benchmarks import runtime_command as command  # type: ignore[no-redef]
    from hugectr2onnx.errors import HugeCTR2ONNXError

    try:
        return command.run(arguments)
    except HugeCTR2ONNXError as error:
        print(error.describe(), file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
