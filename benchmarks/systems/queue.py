"""Measures the queue's ledger beside bare SQLite, the disk's own fsync, TransferQueue, verl's and Ray's queues.

python benchmarks/systems/queue.py --repeats 7

All that is measured is in ``queue_parts``. Python looks for modules beside the script that it runs before it looks into
its library: whoever runs a benchmark of this folder and imports the library's ``queue`` is handed that one from here.
"""

from __future__ import annotations

import sys
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from pathlib import Path

if __name__ == "__main__":
    from queue_parts.command import main

    sys.exit(main())

elsewhere = [folder for folder in sys.path if Path(folder).resolve() != Path(__file__).resolve().parent]
specification = PathFinder.find_spec("queue", elsewhere)
if specification is None or specification.loader is None:
    raise ImportError("the standard library's module queue was not found")
sys.modules["queue"] = module_from_spec(specification)
specification.loader.exec_module(sys.modules["queue"])
