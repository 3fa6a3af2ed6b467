"""Write one small file, such as a report, whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable

from hugectr2onnx.backend.saving.folder_lock import folder_lock
from hugectr2onnx.backend.saving.overwrite_guard import refuse_foreign_file
from hugectr2onnx.backend.saving.unfinished_save import UnfinishedSave, sync_folder
from hugectr2onnx.backend.saving.writable import output_errors, writable_path


def replace_file(
    path: str | os.PathLike[str], content: bytes, *, is_own: Callable[[bytes], bool], force: bool = False
) -> None:
    """Write a file whole or not at all, links followed.

    Raises OutputError where it cannot be written, or where the file that stands there is not one of ours (`is_own` is asked
    for its first bytes) and `force` is not given.
    """
    target = writable_path(path)
    with output_errors(target), folder_lock(target.parent), UnfinishedSave(target, 1) as saving:
        refuse_foreign_file(target, is_own, force=force)
        os.replace(saving.write_new(0, content), target)
        sync_folder(target.parent)
