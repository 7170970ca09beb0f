"""Any torch model as a classifier: its input, output, layers, weights and predictions."""
