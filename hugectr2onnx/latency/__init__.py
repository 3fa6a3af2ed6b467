"""Latency of ONNX files: measured in turn, by operator, beside other files and beside the floor."""
