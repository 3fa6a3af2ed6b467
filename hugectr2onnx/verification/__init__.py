"""`verify`: whether an ONNX file computes what its HugeCTR model computes."""
