"""Bytes per second as operators write them: `20MB`, `500kB/s`, `4MiB`."""

from __future__ import annotations

import re

_UNITS: dict[str, int] = {
    "": 1,
    "b": 1,
    **{f"{letter}b": 1000**power for power, letter in enumerate("kmgt", start=1)},
    **{f"{letter}ib": 1024**power for power, letter in enumerate("kmgt", start=1)},
}
_WHOLE = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)(?:/s)?\Z")


def parse_rate(text: str) -> float:
    """Bytes per second; 0 means no limit. Raises `ValueError`.

    Bits are refused, whose small b is easily missed.
    """
    found = _WHOLE.match(text.strip())
    unit = found[2] if found else ""
    is_bits = unit.endswith(("bit", "bits")) or (len(unit) > 1 and unit.endswith("b"))
    if found is None or is_bits or unit.lower() not in _UNITS:
        raise ValueError(f"{text!r} is no rate: write bytes per second, such as 20MB, 500kB or 4MiB")
    return float(found[1]) * _UNITS[unit.lower()]
