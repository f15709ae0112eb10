"""Writes the newest results into this folder's README: what was measured is not typed.

python benchmarks/systems/readme.py

Each benchmark has its place between two comments; a benchmark without a result keeps what stands there.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from scheduler_parts import markdown
from scheduler_parts.markdown import provenance_line, target_rows
from verl_modes_parts import section as verl_modes

README = Path(__file__).with_name("README.md")
RESULTS = Path(__file__).with_name("results")


def main() -> int:
    sections: dict[str, Callable[[Mapping[str, Any], Path], str]] = {
        "scheduler": markdown.section,
        "queue": queue_section,
        "verl_modes": verl_modes.section,
    }
    text = README.read_text()
    for name, section in sections.items():
        paths = sorted(RESULTS.glob(f"{name}_*.json"))
        if not paths:
            print(f"readme.py: there is no {name}_*.json in {RESULTS}; run {name}.py", file=sys.stderr)
            continue
        text = replaced(text, name, section(json.loads(paths[-1].read_text()), paths[-1]))
    README.write_text(text)
    return 0


def replaced(text: str, name: str, content: str) -> str:
    """``text`` with what stands between the comments of ``name`` exchanged."""
    block = re.compile(rf"(<!-- {name}: begin[^\n]*-->\n).*?(<!-- {name}: end -->)", re.DOTALL)
    changed, count = block.subn(lambda match: match[1] + content + match[2], text)
    if count != 1:
        raise SystemExit(f"readme.py: {README.name} has {count} places for {name!r}, expected 1")
    return changed


def queue_section(record: Mapping[str, Any], path: Path) -> str:
    lines = [*target_rows(record["targets"], asked="bound"), ""]
    figures = sorted(path.parent.glob(f"{path.stem}*.svg"))
    lines += [f"![The ledger beside other queues](results/{figure.name})\n" for figure in figures]
    scale = record["scale"]
    lines.append(
        f"Medians of {scale['repeats']} passes; batches of {record['batch']}; {scale['num_entries']:,} entries; SQLite "
        f"{record['sqlite']} on {record['file_system']}. {provenance_line(record, path)}"
    )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
