"""A hook of mkdocs: the site's first page is the README, with links that fit the site."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
LINK = re.compile(r"(\]\()(?!https?:|mailto:|#)([^)]+\))")


def on_files(files: Any, config: Any) -> Any:
    """Add index.md to the files of the site."""
    from mkdocs.structure.files import File

    files.append(File.generated(config, "index.md", content=index(config["repo_url"])))
    return files


def index(repository: str) -> str:
    """The README: links into docs/ become relative to it, links to other files lead to the repository."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")

    def fitted(match: re.Match[str]) -> str:
        target = match[2]
        if target == "docs/decisions/)":
            return f"{match[1]}decisions/001-passes-return-fires.md)"
        inside = target.startswith("docs/")
        return match[1] + (target.removeprefix("docs/") if inside else f"{repository}/blob/main/{target}")

    return LINK.sub(fitted, readme)
