"""Several warm processes, and the programs that wait for one.

Invariant: at most ``slots`` programs run at a time, each in a warm process of its own; a warm process that was lost is
replaced and costs one program its judgement, never the pool. ``close`` leaves no process behind.
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from pangu_verl.mars.code.launching import SandboxFailed
from pangu_verl.mars.code.sandbox.layers import Standing
from pangu_verl.mars.code.warm_process import WarmProcess

T = TypeVar("T")


class SandboxPool:
    """For any thread: ``submit(work).result()``. For asyncio: ``await asyncio.wrap_future(pool.submit(work))``.

    Starts nothing before the first call. ``without`` leaves layers of isolation off, so that others can be tested.
    """

    def __init__(self, *, slots: int = 2, without: Collection[str] = ()) -> None:
        self._all = [WarmProcess(without) for _ in range(slots)]
        self._free: queue.SimpleQueue[WarmProcess] = queue.SimpleQueue()
        for warm in self._all:
            self._free.put(warm)
        self._threads = ThreadPoolExecutor(slots, thread_name_prefix="sandbox")

    def submit(self, work: Callable[[WarmProcess], T]) -> Future[T]:
        """Do ``work`` with a warm process. The future raises ``SandboxFailed`` where the sandbox failed."""
        try:
            return self._threads.submit(self._do, work)
        except RuntimeError as error:  # closed, or the interpreter is about to end
            refused: Future[T] = Future()
            refused.set_exception(SandboxFailed(f"the sandbox takes no more programs: {error}"))
            return refused

    def standing(self) -> Standing:
        """Which layers hold here. Raises ``SandboxFailed``."""
        return self.submit(WarmProcess.started).result()

    def close(self) -> None:
        """Ends running programs at once; their work, and work that waits, raises ``SandboxFailed``."""
        for warm in self._all:
            warm.close()
        self._threads.shutdown(wait=True)
        for warm in self._all:
            warm.stop()

    def _do(self, work: Callable[[WarmProcess], T]) -> T:
        warm = self._free.get()
        try:
            return work(warm)
        except BaseException:
            warm.stop()  # a half-read conversation must not reach the next program
            raise
        finally:
            self._free.put(warm)
