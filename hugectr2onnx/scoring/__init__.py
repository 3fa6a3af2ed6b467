"""Predictions of a converted model on whole data sets: scoring, metrics, files of predictions, comparisons."""
