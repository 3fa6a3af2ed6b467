"""HugeCTR's dense layers, one module for each or for a close family.

Importing the package imports every module in it, and the layer classes enter `layer.REGISTRY` as they are defined: a
new layer is a new module, and no list is kept by hand.
"""

from importlib import import_module
from pkgutil import iter_modules

for _module in iter_modules(__path__):
    if _module.name not in ("layer", "registration"):
        import_module(f"{__name__}.{_module.name}")
