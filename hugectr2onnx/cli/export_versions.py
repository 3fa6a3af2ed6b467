"""`hugectr2onnx export versions`."""

from __future__ import annotations

import argparse

from hugectr2onnx.cli.arguments import add_json
from hugectr2onnx.cli.output import Output


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="FOLDER", help="the folder that `export split` wrote")
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--switch", metavar="NAME", help="let readers take this version from now on")
    choice.add_argument("--remove", metavar="NAME", help="remove a version that is not current, its rows too")
    choice.add_argument(
        "--break-lock", action="store_true", help="end the lock that an export to Redis left when it was killed"
    )
    add_json(parser)


def run(arguments: argparse.Namespace, output: Output) -> int:
    from hugectr2onnx.stores.export import remove_version, switch_version
    from hugectr2onnx.stores.split_folder import open_store
    from hugectr2onnx.stores.version_folder import VersionFolder

    store = open_store(arguments.folder)
    try:
        if arguments.switch is not None:
            switch_version(store, VersionFolder(arguments.folder), arguments.switch)
        if arguments.remove is not None:
            remove_version(store, VersionFolder(arguments.folder), arguments.remove)
        if arguments.break_lock:
            output.say("the lock is broken" if store.break_lock() else "no export holds a lock")
        versions, current = store.versions(), store.current()
    finally:
        store.close()
    output.table(("version", ""), [(version, "current" if version == current else "") for version in versions])
    if output.json:
        output.data({"versions": versions, "current": current})
    return 0
