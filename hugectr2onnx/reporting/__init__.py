"""The report of one model file: what it is, what was done to it, what is proven, how fast it is."""

from typing import Literal

ReportFormat = Literal["html", "md", "json"]
REPORT_FORMATS: tuple[ReportFormat, ...] = ("html", "md", "json")
