"""The parent's side of one warm process: has it start children, and hears how they ended.

Invariant: used by one thread at a time, but for ``close``; nothing that a child sends is believed here, since what this
module reads comes from the warm process, which runs no code of a model. A lost process is replaced by the next call of
``started``, a closed one never.
"""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from pangu_verl.mars.code.launching import START_SECONDS, Running, SandboxFailed, failure, launch, receive
from pangu_verl.mars.code.sandbox.layers import Standing
from pangu_verl.mars.code.sandbox.limits import Limits


@dataclass(frozen=True, slots=True)
class Ending:
    """How a child ended: exit code, negative for a signal; CPU time used."""

    status: int
    cpu_seconds: float


class WarmProcess:
    """One isolated interpreter that forks children. ``without`` names layers to leave off, for tests of the others."""

    def __init__(self, without: Collection[str] = ()) -> None:
        self._without = frozenset(without)
        self._running: Running | None = None
        self._is_closed = False
        self._endings: dict[int, Ending] = {}
        self._last_number = 0

    def started(self) -> Standing:
        """The layers that hold, after starting the process if there is none. Raises ``SandboxFailed``."""
        return self._started().standing

    def start_child(self, limits: Limits, descriptors: list[int]) -> int:
        """The number of a new child that gets ``descriptors``: channel, standard input and output, maybe a link."""
        running = self._started()
        self._last_number += 1
        request = {
            "start": self._last_number,
            "cpu_seconds": limits.cpu_seconds,
            "memory_mib": limits.memory_mib,
        }
        try:
            socket.send_fds(running.control, [json.dumps(request).encode()], descriptors)
        except OSError as error:
            raise self._failure(f"it takes no requests: {error}") from None
        return self._last_number

    def end_child(self, number: int) -> Ending:
        """Kill the child if it still runs; returns after it and all that it started are gone."""
        if number not in self._endings and self._running is not None:
            with contextlib.suppress(OSError):  # the next receive tells
                self._running.control.send(json.dumps({"kill": number}).encode())
        return self.wait_child(number, time.monotonic() + START_SECONDS)

    def wait_child(self, number: int, deadline: float) -> Ending:
        """How the child ended. Raises ``TimeoutError`` at the deadline, a time of ``time.monotonic``."""
        while number not in self._endings:
            message = self._receive(deadline)
            self._endings[message["ended"]] = Ending(message["status"], message["cpu_seconds"])
        return self._endings.pop(number)

    def stop(self) -> None:
        """End the process and all that it started."""
        running, self._running = self._running, None
        self._endings.clear()
        if running is not None:
            running.stop()

    def close(self) -> None:
        """From any thread, for good: whoever waits for it gets ``SandboxFailed``. It still has to be stopped."""
        self._is_closed = True
        if (running := self._running) is not None:
            with contextlib.suppress(OSError):  # it is being stopped
                running.control.shutdown(socket.SHUT_RDWR)

    def _started(self) -> Running:
        if self._running is not None and self._running.process.poll() is not None:
            self.stop()
        if self._running is None and not self._is_closed:
            self._running = launch(self._without)
        if self._running is None or self._is_closed:  # it may have been closed while it started
            raise self._failure("it was closed")
        return self._running

    def _receive(self, deadline: float) -> dict[str, Any]:
        if self._running is None:
            raise self._failure("it was stopped")
        try:
            return receive(self._running.control, deadline)
        except TimeoutError:
            raise
        except (OSError, EOFError) as error:
            raise self._failure(error) from None

    def _failure(self, reason: object) -> SandboxFailed:
        self.stop()
        return failure("it was closed" if self._is_closed else reason)
