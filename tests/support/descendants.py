"""Every process that a command starts, itself or through others, so that a test can say what outlived it.

Other runs may be under way on the machine, so processes are told apart by descent and not by name. A child whose parent
dies before it was ever seen is missed; Ray's processes live long enough.
"""

from __future__ import annotations

import threading

import psutil

_LOOK_EVERY_S = 0.5


class Descendants:
    """Watches one process from a thread until ``stop``."""

    def __init__(self, pid: int) -> None:
        self._root = psutil.Process(pid)
        self._seen = {pid: self._root}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._stopped.wait(_LOOK_EVERY_S):
            for process in psutil.process_iter(["ppid"]):
                if process.info["ppid"] in self._seen and process.pid not in self._seen:
                    self._seen[process.pid] = process

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def outliving(self, timeout_s: float) -> list[psutil.Process]:
        """Those that still run ``timeout_s`` seconds later; the watch is over then."""
        self.stop()
        started = [process for process in self._seen.values() if process is not self._root]
        _, alive = psutil.wait_procs(started, timeout=timeout_s)
        return [process for process in alive if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]

    def kill(self) -> None:
        """End all of them."""
        self.stop()
        for process in self._seen.values():
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
