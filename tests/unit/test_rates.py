"""Rates as operators write them."""

from __future__ import annotations

import pytest

from holdfast.domain.rates import parse_rate


@pytest.mark.parametrize(
    ("text", "bytes_per_second"),
    [
        ("20MB", 20e6),
        ("500kB/s", 500e3),
        ("500 kB/s", 500e3),
        ("4MiB", 4 * 1024**2),
        ("1.5GB", 1.5e9),
        ("0", 0),
        ("1000", 1000),
        ("10B", 10),
    ],
)
def test_a_rate_is_understood(text: str, bytes_per_second: float) -> None:
    """Powers of 1000, and of 1024 where that is said."""
    assert parse_rate(text) == bytes_per_second


@pytest.mark.parametrize("text", ["", "fast", "20Mbit", "20Mb", "-1MB", "1 parsec", "20MB/h", "MB", "1e6"])
def test_what_is_no_rate_is_refused(text: str) -> None:
    """Bits too: they are eight times less."""
    with pytest.raises(ValueError, match="no rate"):
        parse_rate(text)
