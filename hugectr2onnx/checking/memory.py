"""Refuse a compilation that would take more memory than the caller allows (`max_memory`), before it does the work."""

from __future__ import annotations

import os
from collections.abc import Mapping

from hugectr2onnx.checking.forecast import BASE_MEMORY_BYTES, expected_tables, forecast
from hugectr2onnx.checking.report import FLOAT_BYTES
from hugectr2onnx.checking.table_sizes import table_sizes
from hugectr2onnx.errors import OptionError, Setting
from hugectr2onnx.frontend.weights.snapshot import resolve
from hugectr2onnx.ir.graph import Graph
from hugectr2onnx.options import Options
from hugectr2onnx.passes.lookups.strategies import STRATEGIES_BY_NAME as STRATEGIES


def check_least_memory(graph: str | os.PathLike[str] | Mapping[str, object], weights: object, options: Options) -> None:
    """Raise OptionError where even the cheapest key maps would take too much, by the sizes of the files alone."""
    if options.max_memory is None:
        return
    files = resolve(weights)
    try:
        dense = os.path.getsize(files.dense) if files.dense is not None else 0
    except (OSError, ValueError):
        dense = 0  # opening it tells what is wrong
    sizes = table_sizes(graph, files, options)
    rows = sum(size // (FLOAT_BYTES * width) for top, size, _, width in sizes if top not in options.keep_keys)
    least = min(each.memory_per_key for each in STRATEGIES.values())
    _raise(memory_error(BASE_MEMORY_BYTES + dense + least * rows, options.max_memory, "at least"))


def check_memory(graph: Graph, dense_bytes: int, options: Options, *, automatic: bool) -> None:
    """Raise OptionError where the forecast for an imported graph exceeds `max_memory`; `automatic` as in the forecast."""
    if options.max_memory is None:
        return
    tables = tuple(expected_tables(graph, options.keys, automatic=automatic))
    _raise(memory_error(forecast(dense_bytes, tables).memory_bytes, options.max_memory))


def memory_error(needed: int, allowed: int | None, how_exactly: str = "about") -> OptionError | None:
    """Return the error of a model that needs more bytes than `max_memory` allows."""
    if allowed is None or needed <= allowed:
        return None
    return OptionError(
        f"compiling takes {how_exactly} {needed:,} bytes of memory and ",
        Setting("max_memory", allowed),
        " allows less: raise it, keep fewer keys, or feed the vectors with ",
        Setting("convert_embedding", False),
    )


def _raise(error: OptionError | None) -> None:
    if error is not None:
        raise error
