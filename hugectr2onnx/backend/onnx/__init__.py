"""From IR to ONNX: nodes, tensors, and files that are read back."""

from __future__ import annotations

PROTOBUF_LIMIT = 2**31 - 1
"""The largest protobuf message, in bytes."""
