"""The disk by itself: how long it takes until a page appended to a file is safe."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from rewards_parts.measuring import spread

from . import Scale
from .made import milliseconds_table, seconds


def measure(scale: Scale, folder: Path) -> dict[str, Any]:
    page = bytes(4096)
    with (folder / "pages").open("wb", buffering=0) as stream:

        def append() -> None:
            stream.write(page)
            os.fsync(stream.fileno())

        append()
        times = [seconds(append) for _ in range(scale.num_syncs)]
    return {"append_and_fsync_s": spread(times)}


def table(figures: dict[str, Any]) -> list[list[object]]:
    return milliseconds_table("4 KiB", figures)
