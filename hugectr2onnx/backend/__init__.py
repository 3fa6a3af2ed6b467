"""From a finished graph to onnx models and files, checked before anyone gets them."""
