"""Facts about the machine, without which a figure says nothing."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """`load_before`: how busy it was before anything was measured, as the system's average of a minute."""

    cores: int
    cpu: str
    memory_gb: float
    file_system: str
    system: str
    python: str
    load_before: float


def machine_facts(folder: Path) -> Machine:
    """`folder` is on the disk that is measured."""
    return Machine(
        cores=len(os.sched_getaffinity(0)),
        cpu=_field(Path("/proc/cpuinfo"), "model name") or platform.processor() or platform.machine(),
        memory_gb=round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        file_system=file_system_of(folder),
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        load_before=round(os.getloadavg()[0], 2),
    )


def file_system_of(folder: Path) -> str:
    """The type of the file system that holds `folder`."""
    best, kind = "", "unknown"
    for line in Path("/proc/mounts").read_text(encoding="utf-8", errors="replace").splitlines():
        _, place, found, *_ = line.split()
        inside = folder.resolve().is_relative_to(place)
        if inside and len(place) >= len(best):
            best, kind = place, found
    return kind


def _field(file: Path, name: str) -> str:
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
        label, _, value = line.partition(":")
        if label.strip() == name:
            return value.strip()
    return ""
