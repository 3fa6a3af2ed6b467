"""docs/passes.md names the passes of each level, and says from which level each runs."""

from __future__ import annotations

import re

from hugectr2onnx.passes import FINISHING, PIPELINES

from .pages import DOCS, text

PAGE = text(DOCS / "passes.md")


def test_the_table_of_passes_is_what_the_levels_run() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\d)(, finishing)? \|", PAGE, re.MULTILINE)
    documented = {name: (int(level), bool(finishing)) for name, level, finishing in rows}
    actual: dict[str, tuple[int, bool]] = {}
    for level in sorted(PIPELINES):
        for each in PIPELINES[level]:
            actual.setdefault(each.__name__, (level, False))
        for each in FINISHING[level]:
            actual.setdefault(each.__name__, (level, True))
    assert documented == actual
    assert len(rows) == len(documented)


def test_every_pass_is_explained() -> None:
    explanations = PAGE.partition("\n## ")[2]
    missing = {each.__name__ for passes in PIPELINES.values() for each in passes if each.__name__ not in explanations}
    assert missing == set()
