"""Where the driver's output goes when the place for it takes no more."""

from __future__ import annotations

import os
import subprocess
import sys


def test_output_that_a_full_disk_refuses_is_dropped_and_the_terminal_comes_back() -> None:
    program = (
        "from pathlib import Path\n"
        "from pangu_verl.integrations.verl.launch import _output_to\n"
        "with _output_to(Path('/dev/full')):\n"
        "    print('lost')\n"
        "print('kept')\n"
    )
    buffered = {**os.environ, "PYTHONUNBUFFERED": ""}
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, env=buffered)
    assert (ended.returncode, ended.stdout) == (0, "kept\n"), ended.stderr
