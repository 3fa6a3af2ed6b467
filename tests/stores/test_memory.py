"""An export streams: its memory does not grow with the tables."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MEASURED = """
import json, sys
from pathlib import Path
from hugectr2onnx.options import Options
from hugectr2onnx.sample_models.catalog import write_sample
from hugectr2onnx.stores.export import export_split
def anonymous():
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(fields["RssAnon"].split()[0]) * 1024
sample = write_sample("criteo_bn", sys.argv[1], rows=int(sys.argv[3]), scale="realistic")
peak, before = 0, anonymous()
from hugectr2onnx.stores import table_rows
plain = table_rows.encode
def watched(*given):
    global peak
    peak = max(peak, anonymous() - before)
    return plain(*given)
table_rows.encode = watched
done = export_split(sample.graph, sample.weights, sys.argv[2], store=sys.argv[4], options=Options(check=False))
print(json.dumps([sum(table.bytes for table in done.tables), peak]))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system does not tell the memory of a process")
def test_memory_does_not_follow_the_size_of_a_table(kind: str, tmp_path: Path) -> None:
    stored, peak = measured(tmp_path, 600_000, kind)
    assert stored > 140_000_000
    assert peak < 64_000_000


def measured(folder: Path, rows: int, kind: str) -> tuple[int, int]:
    command = [sys.executable, "-c", MEASURED, str(folder / "model"), str(folder / "split"), str(rows), kind]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    stored, peak = json.loads(done.stdout.splitlines()[-1])
    return stored, peak
