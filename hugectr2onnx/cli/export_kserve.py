"""`hugectr2onnx export kserve`."""

from __future__ import annotations

import argparse

from hugectr2onnx.cli.dataset_arguments import positive
from hugectr2onnx.cli.output import Output


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL.onnx", help="the converted model")
    parser.add_argument("folder", metavar="FOLDER", help="a new folder: YAML, Dockerfile and the model's files")
    parser.add_argument("--name", help="the model's name (default: that of the file)")
    parser.add_argument("--force", action="store_true", help="replace FOLDER")
    group = parser.add_argument_group("deployment")
    group.add_argument("--image", metavar="IMAGE", help="what the cluster pulls; build it from the Dockerfile")
    group.add_argument(
        "--storage-uri", metavar="URI", help="where models/NAME will lie, such as s3://bucket/wdl (pvc://models/NAME)"
    )
    group.add_argument("--cpus", type=positive, default=2, metavar="N", help="of one replica (default 2)")
    group.add_argument("--memory", type=positive, default=4, metavar="GIB", help="of one replica (default 4)")
    group.add_argument("--min-replicas", type=positive, default=1, metavar="N", help="default 1")
    group.add_argument("--max-replicas", type=positive, default=3, metavar="N", help="default 3")


def run(arguments: argparse.Namespace, output: Output) -> int:
    from hugectr2onnx.serving.kserve_files import KServeOptions, export_kserve

    options = KServeOptions(
        image=arguments.image or KServeOptions.image,
        storage=arguments.storage_uri,
        cpus=arguments.cpus,
        memory_gib=arguments.memory,
        min_replicas=arguments.min_replicas,
        max_replicas=max(arguments.min_replicas, arguments.max_replicas),
    )
    folder = export_kserve(
        arguments.model, arguments.folder, name=arguments.name, options=options, force=arguments.force
    )
    output.say(f"wrote {folder}; the container is not built: docker build {folder}")
    return 0
