"""Predictions of a converted model on whole data sets: scoring, metrics, files of predictions, comparisons."""

from typing import Literal

Engine = Literal["local", "ray", "spark"]
ENGINES: tuple[Engine, ...] = ("local", "ray", "spark")
