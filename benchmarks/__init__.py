"""Benchmarks of hugectr2onnx: how fast the compiled models run, and what compiling costs. `python -m benchmarks --help`."""
