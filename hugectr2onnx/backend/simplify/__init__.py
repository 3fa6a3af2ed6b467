"""onnxsim, in a process of its own, on a model without its large tensors."""
