"""Runs trials on the cores there are, and knows those that an earlier process has run.

Invariant: a trial is run once. A result is handed out as it comes, for the record on disk; where one process dies the
others' results are kept. Their order in time depends on the machine, what they say does not.
"""

from __future__ import annotations

import functools
import json
import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from types import TracebackType
from typing import Any, Self

from pangu_verl.errors import RunFailed
from pangu_verl.simulate.order import Order
from pangu_verl.simulate.trials import Bench, Measures, Trial

#: Told of each new result, as an object for ``json.dumps``.
OnResult = Callable[[Mapping[str, Any]], None]
#: Told what is done, how many of its trials have a result, and how many there are.
OnProgress = Callable[[str, int, int], None]


class TrialPool:
    """A context manager. With one process everything runs in this one.

    ``done`` are earlier results as ``on_result`` had them; what cannot be read among them is run again.
    """

    def __init__(
        self,
        order: Order,
        *,
        processes: int = 1,
        done: Iterable[Mapping[str, Any]] = (),
        on_result: OnResult | None = None,
        on_progress: OnProgress | None = None,
    ) -> None:
        self.bench = Bench(order)
        self._pickled_order = pickle.dumps(order)
        self._done = dict(filter(None, map(_earlier, done)))
        self._on_result = on_result or (lambda result: None)
        self._on_progress = on_progress or (lambda stage, finished, total: None)
        self._pool = None
        if processes > 1:
            # Not forked: progress is drawn by a thread, which a forked process would lack.
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(processes, context, initializer=_prepare)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def run(self, stage: str, trials: Sequence[Trial]) -> dict[Trial, Measures]:
        """The measures of all ``trials``. ``stage`` names them in the progress."""
        missing = [trial for trial in trials if _key(trial.to_json()) not in self._done]
        finished = len(trials) - len(missing)
        self._on_progress(stage, finished, len(trials))
        for number, (trial, measures) in enumerate(self._run(missing), start=finished + 1):
            self._done[_key(trial.to_json())] = measures
            self._on_result({"trial": trial.to_json(), "measures": measures.to_json()})
            self._on_progress(stage, number, len(trials))
        return {trial: self._done[_key(trial.to_json())] for trial in trials}

    def _run(self, trials: Sequence[Trial]) -> Iterable[tuple[Trial, Measures]]:
        if self._pool is None:
            for trial in trials:
                yield trial, self.bench.measure(trial)
            return
        try:
            running: dict[Future[Measures], Trial] = {
                self._pool.submit(_measure, self._pickled_order, trial): trial for trial in trials
            }
            for future in as_completed(running):
                yield running[future], future.result()
        except BrokenProcessPool as error:
            raise RunFailed(
                "a process that simulates died (memory may be short); go on with --resume and the same --run-dir"
            ) from error


def _key(trial: Mapping[str, Any]) -> str:
    return json.dumps(trial, sort_keys=True)


def _earlier(result: Mapping[str, Any]) -> tuple[str, Measures] | None:
    try:
        trial, values = result["trial"], result["measures"]
        is_ours = all(isinstance(value, int | float) for value in values.values())
        return (_key(trial), Measures(**values)) if is_ours else None
    except (LookupError, TypeError, AttributeError):
        return None


def _prepare() -> None:
    # Ctrl-C reaches every process of a terminal; what it stops here is run again when the search goes on.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    threading.Thread(target=_leave_with_parent, daemon=True).start()


def _leave_with_parent() -> None:
    """A killed parent tells nobody to stop."""
    if (parent := multiprocessing.parent_process()) is not None:
        parent.join()
        os._exit(1)


def _measure(pickled_order: bytes, trial: Trial) -> Measures:
    return _bench_of(pickled_order).measure(trial)


@functools.lru_cache(maxsize=1)
def _bench_of(pickled_order: bytes) -> Bench:
    return Bench(pickle.loads(pickled_order))
