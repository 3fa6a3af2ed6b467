"""HugeCTR files -> IR. `load` is the way in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hugectr2onnx.frontend.loading import Loaded, load

__all__ = ["Loaded", "load"]


def __getattr__(name: str) -> Any:
    """Import late: `hugectr2onnx.options` needs single modules of this package, and nothing heavy."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from hugectr2onnx.frontend import loading

    return getattr(loading, name)
