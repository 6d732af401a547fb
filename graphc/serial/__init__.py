"""Graphs to and from other forms: ONNX models and text, printed programs, Python source."""
