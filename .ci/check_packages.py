"""Check what a built sdist and wheel hold: `python .ci/check_packages.py FOLDER`.

Prints every fault and ends with 1 where there is one. It needs no package: CI runs it beside `twine check`, which looks
at the metadata alone.
"""

from __future__ import annotations

import re
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from email import message_from_bytes
from pathlib import Path

IN_THE_SDIST = (
    "LICENSE",
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "pyproject.toml",
    ".ci/run",
    "benchmarks/__main__.py",
    "docs/design.md",
    "fuzz/__main__.py",
    "tests/conftest.py",
    "tests/golden/",
    "hugectr2onnx/py.typed",
)
RELATIVE_LINK = re.compile(r"\]\((?!https?:|mailto:|#)[^)]*\)|src=\"(?!https?:)[^\"]*\"")


def faults_of_sdist(path: Path) -> Iterator[str]:
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    for wanted in IN_THE_SDIST:
        if not any(name == wanted or (wanted.endswith("/") and name.startswith(wanted)) for name in names):
            yield f"{path.name}: lacks {wanted}"


def faults_of_wheel(path: Path) -> Iterator[str]:
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        metadata = message_from_bytes(
            archive.read(next(name for name in names if name.endswith(".dist-info/METADATA")))
        )
    if not any(name.endswith(".dist-info/licenses/LICENSE") for name in names):
        yield f"{path.name}: lacks LICENSE"
    if "hugectr2onnx/py.typed" not in names:
        yield f"{path.name}: lacks py.typed"
    for name in names:
        if name.split("/")[0] not in ("hugectr2onnx", f"hugectr2onnx-{metadata['Version']}.dist-info"):
            yield f"{path.name}: holds {name}, which is not a part of the package"
    for link in RELATIVE_LINK.findall(str(metadata.get_payload())):
        yield f"{path.name}: its description holds the relative link {link}, which leads nowhere on PyPI"


def main(folder: Path) -> int:
    sdists, wheels = sorted(folder.glob("*.tar.gz")), sorted(folder.glob("*.whl"))
    faults = [fault for path in sdists for fault in faults_of_sdist(path)]
    faults += [fault for path in wheels for fault in faults_of_wheel(path)]
    if not sdists or not wheels:
        faults.append(f"{folder}: lacks an sdist or a wheel")
    print("\n".join(faults) or f"{len(sdists) + len(wheels)} packages hold what they should")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
