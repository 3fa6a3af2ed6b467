"""Data that a model is fed with, and the predictions that were recorded with it."""

from typing import Literal

DataFormat = Literal["parquet", "norm", "raw", "npz", "csv", "arrow"]
DATA_FORMATS: tuple[DataFormat, ...] = ("parquet", "norm", "raw", "npz", "csv", "arrow")
HugeCTRFormat = Literal["parquet", "norm", "raw"]
HUGECTR_FORMATS: tuple[HugeCTRFormat, ...] = ("parquet", "norm", "raw")
"""Those that HugeCTR reads too."""
