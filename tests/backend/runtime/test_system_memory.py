"""What the system says of its memory, read from files like those of Linux."""

from __future__ import annotations

from pathlib import Path

import pytest

from hugectr2onnx.backend.runtime import system_memory

MEMINFO = "MemTotal:       1000 kB\nMemAvailable:    400 kB\nSwapTotal:        24 kB\nHugePages_Total:       0\n"


@pytest.fixture
def meminfo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "meminfo"
    path.write_text(MEMINFO)
    monkeypatch.setattr(system_memory, "_MEMINFO", path)
    monkeypatch.setattr(system_memory, "LIMITS", (tmp_path / "memory.max",))
    return path


@pytest.fixture
def overcommit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "overcommit_memory"
    path.write_text("0\n")
    monkeypatch.setattr(system_memory, "OVERCOMMIT", path)
    return path


@pytest.mark.usefixtures("meminfo")
def test_what_is_left() -> None:
    assert system_memory.available_memory() == 400 << 10


@pytest.mark.parametrize(("limit", "expected"), [("max", 400 << 10), ("5000", 5000), ("1000000000", 400 << 10)])
@pytest.mark.usefixtures("meminfo")
def test_a_container_may_have_less(limit: str, expected: int, tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text(f"{limit}\n")
    assert system_memory.available_memory() == expected


def test_a_system_that_does_not_say_what_is_left_has_half_of_it(meminfo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    meminfo.unlink()
    monkeypatch.setattr("os.sysconf", {"SC_PHYS_PAGES": 10, "SC_PAGE_SIZE": 4096}.__getitem__)
    assert system_memory.available_memory() == 5 * 4096


@pytest.mark.usefixtures("meminfo", "overcommit")
def test_a_map_may_be_as_large_as_memory_and_swap() -> None:
    assert system_memory.largest_private_map() == 1024 << 10


@pytest.mark.usefixtures("meminfo")
def test_a_system_that_grants_any_map(overcommit: Path) -> None:
    overcommit.write_text("1\n")
    assert system_memory.largest_private_map() is None
    assert list(system_memory.beyond_memory([("emb", 1 << 50)])) == []


@pytest.mark.parametrize("gone", ["meminfo", "overcommit"])
def test_other_systems_grant_any_map(meminfo: Path, overcommit: Path, gone: str) -> None:
    {"meminfo": meminfo, "overcommit": overcommit}[gone].unlink()
    assert system_memory.largest_private_map() is None


@pytest.mark.usefixtures("meminfo", "overcommit")
def test_tables_that_onnxruntime_alone_cannot_open() -> None:
    (warning,) = system_memory.beyond_memory([("fits", 1024 << 10), ("large", (1024 << 10) + 1)])
    assert warning.startswith("large takes 1,048,577 bytes")
    assert "hugectr2onnx.open_session" in warning
