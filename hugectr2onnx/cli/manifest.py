"""`hugectr2onnx manifest`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from hugectr2onnx.cli.arguments import add_json
from hugectr2onnx.cli.entry import INVALID
from hugectr2onnx.cli.output import Output

if TYPE_CHECKING:
    from hugectr2onnx.backend.saving.folder import FolderReport


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = "%(prog)s FOLDER [--verify | --rebuild | --clean] [--json]"
    parser.add_argument("folder", metavar="FOLDER", help="a folder that models were saved to")
    verbs = parser.add_mutually_exclusive_group()
    verbs.add_argument(
        "--verify",
        action="store_true",
        help="compare sizes and SHA-256 of all models and what they refer to with manifest.json (the default)",
    )
    verbs.add_argument(
        "--rebuild", action="store_true", help="write the entries of all models anew, from the models and our records"
    )
    verbs.add_argument(
        "--clean", action="store_true", help="remove at once what killed saves left, and the data of replaced models"
    )
    add_json(parser)


def run(arguments: argparse.Namespace, output: Output) -> int:
    from hugectr2onnx.backend.saving.folder import clean_folder, rebuild_manifest, verify_manifest

    if arguments.clean:
        return _show_removed(output, clean_folder(arguments.folder))
    report = (rebuild_manifest if arguments.rebuild else verify_manifest)(arguments.folder)
    return _show_report(output, report)


def _show_removed(output: Output, removed: tuple[str, ...]) -> int:
    for name in removed:
        output.say(f"removed {name}")
    output.say(f"{len(removed)} files removed", "good")
    if output.json:
        output.data({"removed": list(removed)})
    return 0


def _show_report(output: Output, report: FolderReport) -> int:
    output.table(
        ("file", "bytes", "SHA-256"), [(each.name, each.bytes, each.sha256) for each in report.files], ["bytes"]
    )
    for name in report.kept:
        output.say(f"{name} belongs to a model that was replaced; the next save removes it, or --clean")
    for problem in report.problems:
        output.problem(problem)
    if not report.problems:
        output.say(f"{len(report.models)} models, as the manifest says", "good")
    if output.json:
        output.data(report.to_dict())
    return INVALID if report.problems else 0
