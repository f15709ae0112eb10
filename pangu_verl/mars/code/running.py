"""One test of one program: starts what it needs in the sandbox, and says what became of it.

Invariant: the process that runs the program is given its code and its inputs, never an expected value or test code.
What it answers is data from a stranger. Whatever happens, all children have ended when a function here returns.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

from pangu_verl.mars.code.comparison import same_data, same_tokens
from pangu_verl.mars.code.launching import SandboxFailed
from pangu_verl.mars.code.outcomes import Outcome, Stage
from pangu_verl.mars.code.rows import AssertTest, CallTest, StdinTest, Test
from pangu_verl.mars.code.sandbox.limits import Limits
from pangu_verl.mars.code.warm_process import Ending, WarmProcess
from pangu_verl.mars.code.wire import Channel, WireError

READY_SECONDS = 60.0
#: A stranger chooses what an answer unpacks to in our memory, some fifty times its length.
LONGEST_ANSWER_BYTES = 8 << 20
#: The kernel ends a process by another count of its CPU time than the one it reports afterwards.
COUNTED_SHARE = 0.5
MOST_OUTPUT_BYTES = 16 << 20
SHOWN_CHARACTERS = 200

_STAGES: dict[str, Stage] = {"syntax_error": "syntax_error", "runtime_error": "runtime_error", "ran": "ran"}


def run_test(warm: WarmProcess, code: str, test: Test) -> Outcome:
    """Run ``code`` against ``test``. Raises ``SandboxFailed``."""
    match test:
        case CallTest():
            return _run_call(warm, code, test)
        case StdinTest():
            return _run_stdin(warm, code, test)
        case AssertTest():
            return _run_assert(warm, code, test)


class _Child:
    """A child of the warm process and our end of its channel."""

    def __init__(self, warm: WarmProcess, limits: Limits, *, streams: tuple[int, int], link: int | None = None) -> None:
        self._warm = warm
        self._limits = limits
        ours, theirs = socket.socketpair()
        self._channel = Channel(ours, longest_received_bytes=LONGEST_ANSWER_BYTES)
        self._ending: Ending | None = None
        with theirs:
            descriptors = [theirs.fileno(), *streams, *([] if link is None else [link])]
            try:
                self._number = warm.start_child(limits, descriptors)
            except BaseException:
                ours.close()
                raise

    def give(self, payload: dict[str, Any]) -> float:
        """Send the code once the child is isolated; the deadline of its test."""
        try:
            ready = self._channel.receive(time.monotonic() + READY_SECONDS)
            if ready != {"ready": True}:
                raise SandboxFailed("a child did not say that it is isolated")
            deadline = time.monotonic() + self._limits.wall_seconds
            self._channel.send(payload, deadline)
        except (EOFError, OSError, WireError) as error:
            raise SandboxFailed(f"a child could not be isolated: {error or type(error).__name__}") from None
        return deadline

    def receive(self, deadline: float) -> Any:
        return self._channel.receive(deadline)

    def wait(self, deadline: float) -> None:
        with contextlib.suppress(TimeoutError):
            self._ending = self._warm.wait_child(self._number, deadline)

    def end(self) -> Ending:
        """Gone for certain, with the channel closed."""
        try:
            if self._ending is None:
                self._ending = self._warm.end_child(self._number)
        finally:
            self._channel.close()
        return self._ending

    def over_limit(self, deadline: float) -> Outcome | None:
        """The outcome of a child that was ended for a limit."""
        ending = self.end()
        was_killed = ending.status == -signal.SIGKILL
        killed_at_limit = was_killed and ending.cpu_seconds >= COUNTED_SHARE * self._limits.cpu_seconds
        if killed_at_limit or ending.cpu_seconds > self._limits.cpu_seconds:
            return Outcome(False, "limit", f"over the limit of {self._limits.cpu_seconds:g} s of CPU time")
        if time.monotonic() >= deadline:
            return Outcome(False, "limit", f"over the limit of {self._limits.wall_seconds:g} s of wall time")
        return None


@contextlib.contextmanager
def _child(warm: WarmProcess, limits: Limits, **arguments: Any) -> Iterator[_Child]:
    child = _Child(warm, limits, **arguments)
    try:
        yield child
    finally:
        child.end()


@contextlib.contextmanager
def _null_streams() -> Iterator[tuple[int, int]]:
    descriptor = os.open(os.devnull, os.O_RDWR)
    try:
        yield descriptor, descriptor
    finally:
        os.close(descriptor)


def _run_call(warm: WarmProcess, code: str, test: CallTest) -> Outcome:
    payload = {"kind": "call", "code": code, "entry_point": test.entry_point, "args": test.args}
    with _null_streams() as streams, _child(warm, test.limits, streams=streams) as child:
        deadline = child.give(payload)
        message, failure = _heard(lambda: child.receive(deadline))
        over = child.over_limit(deadline)
    if over is not None:
        return over
    if failure is not None:
        return failure
    if "value" not in message:
        return _failed(message)
    result = message["value"]
    if any(same_data(result, expected) for expected in test.expected):
        return Outcome(True, "ran", "the result is as expected")
    return Outcome(False, "ran", f"{test.entry_point} gave {_shown(result)}, expected {_shown(test.expected[0])}")


def _run_stdin(warm: WarmProcess, code: str, test: StdinTest) -> Outcome:
    read_end, write_end = os.pipe()
    with _input_file(test.input) as standard_input, os.fdopen(read_end, "rb", 0) as pipe:
        with os.fdopen(write_end, "wb", 0):
            child = _Child(warm, test.limits, streams=(standard_input, write_end))
        try:
            deadline = child.give({"kind": "stdin", "code": code})
            output = _read_output(pipe.fileno(), deadline)
            if output is not None:
                child.wait(deadline)
            message, failure = _heard(lambda: child.receive(time.monotonic() + 1))
            over = child.over_limit(deadline)
        finally:
            status = child.end().status
    if output is None:
        return Outcome(False, "limit", f"over the limit of {MOST_OUTPUT_BYTES >> 20} MiB of output")
    if over is not None:
        return over
    if status != 0:
        if failure is None and "error" in message:
            return _failed(message)
        return Outcome(False, "runtime_error", f"the program left with code {status}")
    if same_tokens(output.decode("utf-8", "replace"), test.output):
        return Outcome(True, "ran", "the output is as expected")
    return Outcome(False, "ran", f"printed {_shown(output[:1000].decode('utf-8', 'replace'))}")


def _read_output(pipe: int, deadline: float) -> bytes | None:
    """All that was written until the end or the deadline; None where it is more than may be."""
    output = bytearray()
    watch = select.poll()  # not select, which knows no descriptor above 1023, and a trainer may have that many open
    watch.register(pipe, select.POLLIN)
    while (left_s := deadline - time.monotonic()) > 0 and watch.poll(left_s * 1000):
        piece = os.read(pipe, 1 << 16)
        output += piece
        if not piece:
            break
        if len(output) > MOST_OUTPUT_BYTES:
            return None
    return bytes(output)


def _run_assert(warm: WarmProcess, code: str, test: AssertTest) -> Outcome:
    program_link, test_link = socket.socketpair()
    with (
        _null_streams() as streams,
        program_link,
        test_link,
        _child(warm, test.limits, streams=streams, link=program_link.fileno()) as program,
        _child(warm, test.limits, streams=streams, link=test_link.fileno()) as tester,
    ):
        program_link.close()  # or the test would never see that the program's process ended
        test_link.close()
        tester.give({"kind": "test", "test": test.code})
        deadline = program.give({"kind": "serve", "code": code})
        message, failure = _heard(lambda: tester.receive(deadline))
        over = program.over_limit(deadline)
        over_in_test = tester.over_limit(deadline)
    if over or over_in_test or failure:
        return over or over_in_test or failure  # type: ignore[return-value]
    if message.get("passed") is True:
        return Outcome(True, "ran", "the test passed")
    if message.get("passed") is None:
        return Outcome(None, "unknown", f"the row's test is broken: {str(message.get('error'))[:SHOWN_CHARACTERS]}")
    return _failed(message)


def _heard(receive: Callable[[], Any]) -> tuple[dict[str, Any], Outcome | None]:
    """The message, or an outcome that says why there is none."""
    try:
        message = receive()
    except TimeoutError:
        return {}, Outcome(False, "limit", "over the limit of wall time")
    except (EOFError, OSError):
        return {}, Outcome(False, "runtime_error", "the program's process ended without an answer")
    except WireError as error:
        return {}, Outcome(False, "runtime_error", str(error))
    if not isinstance(message, dict):
        return {}, Outcome(False, "runtime_error", "an answer that is no object")
    return message, None


def _failed(message: dict[str, Any]) -> Outcome:
    error = str(message.get("error", "no reason given"))[:SHOWN_CHARACTERS]
    return Outcome(False, _STAGES.get(str(message.get("stage")), "runtime_error"), error)


def _shown(value: Any) -> str:
    with contextlib.suppress(ValueError, RecursionError):  # an integer of too many digits has no decimal form
        text = repr(value)
        return text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + "…"
    return f"a {type(value).__name__}"


@contextlib.contextmanager
def _input_file(text: str) -> Iterator[int]:
    """A file in memory, so that no one has to feed a pipe."""
    descriptor = os.memfd_create("input")
    try:
        with os.fdopen(os.dup(descriptor), "wb") as file:
            file.write(text.encode("utf-8", "surrogatepass"))
        os.lseek(descriptor, 0, os.SEEK_SET)
        yield descriptor
    finally:
        os.close(descriptor)
