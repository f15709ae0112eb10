"""How numbers are written."""

from __future__ import annotations

import pytest

from pangu_verl.report.wording import latency, moment


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "unknown"),
        (0.0, "0 ms"),
        (0.0004, "0.4 ms"),
        (0.00994, "9.9 ms"),
        (0.00996, "10 ms"),
        (0.9994, "999 ms"),
        (0.9996, "1.0 s"),
        (12.34, "12.3 s"),
        (1234.0, "1,234 s"),
    ],
)
def test_times_have_the_unit_in_which_they_can_be_read(seconds: float | None, text: str) -> None:
    assert latency(seconds) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("2026-08-22T10:11:12+00:00", "2026-08-22 10:11:12 UTC"),
        ("2026-08-22T10:11:12+02:00", "2026-08-22T10:11:12+02:00"),
        ("yesterday", "yesterday"),
        ("", "unknown"),
    ],
)
def test_a_time_of_the_audit_trail_is_made_readable(text: str, shown: str) -> None:
    assert moment(text) == shown
