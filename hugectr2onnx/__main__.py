"""`python -m hugectr2onnx`: the command line."""

from __future__ import annotations

import sys

from hugectr2onnx.cli import main

if __name__ == "__main__":
    sys.exit(main())
