"""How numbers are written on the page. ``None`` is written "unknown", never 0."""

from __future__ import annotations

import re

from pangu_verl.report.statistics import PairedGain

UNKNOWN = "unknown"
_ISO_TIME = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)\+00:00", re.ASCII)
_MINUS = "\N{MINUS SIGN}"


def decimals(gain: PairedGain) -> int:
    """Digits after the point for numbers in points: none, unless the interval is narrow."""
    return 0 if gain.high - gain.low >= 0.03 else 1


def accuracy_digits(gain: PairedGain) -> int:
    """Digits for the accuracies beside a gain: enough that their difference as written is the gain as written."""
    wanted = round(100 * gain.gain, decimals(gain))
    for digits in range(decimals(gain) + 2, 4):
        difference = 100 * (round(gain.after, digits) - round(gain.before, digits))
        if round(difference, 6) == wanted:
            return digits
    return 3


def share(value: float | None, digits: int = 2) -> str:
    """A share of 1: 0.31."""
    return UNKNOWN if value is None else f"{value:.{digits}f}"


def percent(value: float | None) -> str:
    """A share as a percentage; tenths where whole ones would hide it: 25%, 0.4%."""
    if value is None:
        return UNKNOWN
    return f"{100 * value:.0f}%" if value == 0 or 100 * value >= 9.95 else f"{100 * value:.1f}%"


def signed(value: float, digits: int = 0) -> str:
    """+35, 0, and a true minus sign."""
    text = f"{value:+.{digits}f}"
    if float(text) == 0:
        return text[1:]
    return text.replace("-", _MINUS)


def points(gain: PairedGain) -> str:
    """The gain in points: +35."""
    return signed(100 * gain.gain, decimals(gain))


def interval(gain: PairedGain) -> str:
    """The interval in points, without units: 30 to 40."""
    digits = decimals(gain)
    low, high = (signed(100 * bound, digits).removeprefix("+") for bound in (gain.low, gain.high))
    return f"{low} to {high}"


def number(value: float | None, unit: str = "", digits: int = 0) -> str:
    """A number with thousands set apart, and its unit."""
    if value is None:
        return UNKNOWN
    return f"{value:,.{digits}f} {unit}".strip()


def latency(seconds: float | None) -> str:
    """A time that may be far below a second: 0.4 ms, 12 ms, 1.3 s."""
    if seconds is None:
        return UNKNOWN
    if seconds < 0.9995:
        return number(1000 * seconds, "ms", 1 if 0 < seconds < 0.00995 else 0)
    return number(seconds, "s", 1 if seconds < 99.95 else 0)


def moment(text: str) -> str:
    """A time as the audit trail writes it, made readable: 2026-08-22 10:11:12 UTC. Any other text stays."""
    return _ISO_TIME.sub(r"\1 \2 UTC", text) if _ISO_TIME.fullmatch(text) else text or UNKNOWN


def change(before: str, after: str) -> str:
    """before → after, or one "unknown" if neither is known."""
    return UNKNOWN if before == after == UNKNOWN else f"{before} → {after}"


def duration(seconds: float | None) -> str:
    """1 h 12 min, 7 min 30 s, 45 s."""
    if seconds is None or seconds < 0:
        return UNKNOWN
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 1:
        return f"{rest} s"
    hours, minutes_left = divmod(minutes, 60)
    return f"{hours} h {minutes_left} min" if hours else f"{minutes} min {rest} s"
