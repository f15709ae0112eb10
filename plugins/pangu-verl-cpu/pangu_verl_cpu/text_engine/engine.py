"""The engine: a thread that decodes, and the calls that steer it from any other thread.

Each turn of the loop admits waiting requests by priority, decodes one token for every row and hands out what is done.
Invariants: weights change only between two steps; every request ends in exactly one completion or one exception; no
token is generated while the engine is paused. Time in steps is counted as busy, all other time as idle.
"""

from __future__ import annotations

import heapq
import itertools
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

import torch
from transformers import PreTrainedModel

from pangu_verl_cpu.text_engine.decoding import DecodingBatch
from pangu_verl_cpu.text_engine.requests import (
    Completion,
    EngineClosed,
    EngineError,
    EngineStatistics,
    Request,
    Sampling,
    StopReason,
    check_prompt,
)
from pangu_verl_cpu.text_engine.sampling import sample

# Rows come and go in lots of an eighth of the batch: each joining or leaving copies the key-value cache once.
_LOT_SHARE = 8
# An idle engine waits this long after the last arrival, so that the members of a group share one prefill.
_GATHER_S = 0.02


class TextEngine:
    """Serves one model. ``eos_token_ids`` end a sequence (and are returned as its last token).

    ``before_work`` runs first in the engine's thread, which does all that computes; what it raises is raised here.
    Callbacks on the futures run there too and must not call ``pause``, ``change_weights`` or ``close``.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        *,
        eos_token_ids: Sequence[int],
        pad_token_id: int,
        max_rows: int,
        max_prefill_tokens: int,
        seed: int,
        before_work: Callable[[], None] = lambda: None,
    ) -> None:
        self._model = model.eval()
        self._eos_token_ids = frozenset(eos_token_ids)
        self._max_length_tokens = int(model.config.max_position_embeddings)
        self._vocabulary_size = int(model.get_input_embeddings().weight.shape[0])
        self._max_rows = max_rows
        self._max_prefill_tokens = max_prefill_tokens
        self._generator = torch.Generator().manual_seed(seed)
        self._batch = DecodingBatch(model, pad_token_id)
        self._waiting: list[Request] = []
        self._joining: list[Request] = []
        self._arrivals = itertools.count()
        self._last_arrival_s = 0.0
        self._version: int | None = None
        self._paused = self._rejecting = self._closed = False
        self._errands: deque[Callable[[], None]] = deque()
        self._changed = threading.Condition()
        self._started_s = time.monotonic()
        self._busy_s = 0.0
        self._prompt_tokens = self._generated_tokens = self._completed = self._aborted = self._failed = 0
        self._thread = threading.Thread(target=self._run, name="text-engine", daemon=True)
        self._thread.start()
        try:
            self._between_steps(before_work)
        except BaseException:
            self.close()
            raise

    def submit(self, prompt_token_ids: Sequence[int], sampling: Sampling, priority: int = 0) -> Future[Completion]:
        """Queue a prompt; lower ``priority`` is served first. While paused it waits, or ends at once if rejecting."""
        check_prompt(prompt_token_ids, sampling, self._max_length_tokens, self._vocabulary_size)
        with self._changed:
            if self._closed:
                raise EngineClosed("the engine is closed")
            request = Request(tuple(prompt_token_ids), sampling, priority, next(self._arrivals))
            if self._rejecting:
                self._end(request, "aborted")
            else:
                heapq.heappush(self._waiting, request)
                self._last_arrival_s = time.monotonic()
                self._changed.notify_all()
        return request.future

    def pause(self, *, reject: bool = False) -> int:
        """End all requests in flight with the tokens they have; returns their number.

        Requests that have no token yet wait for ``resume``, unless ``reject``: then these and later ones end at once.
        """
        with self._changed:
            self._paused, self._rejecting = True, reject
        try:
            return int(self._between_steps(lambda: self._abort_all(reject)))
        except EngineClosed:
            return 0

    def resume(self) -> None:
        """Serve again."""
        with self._changed:
            self._paused = self._rejecting = False
            self._changed.notify_all()

    def change_weights(self, change: Callable[[PreTrainedModel], None], version: int | None) -> None:
        """Run ``change`` on the model between two steps, then report ``version`` (None keeps the present one)."""

        def changed() -> None:
            with torch.no_grad():
                change(self._model)
            if version is not None:
                self._version = version

        self._between_steps(changed)

    @property
    def version(self) -> int | None:
        """Of the weights in use, None before the first publication."""
        return self._version

    def statistics(self) -> EngineStatistics:
        """Counters up to now."""
        with self._changed:
            return EngineStatistics(
                busy_s=self._busy_s,
                idle_s=max(0.0, time.monotonic() - self._started_s - self._busy_s),
                prompt_tokens=self._prompt_tokens,
                generated_tokens=self._generated_tokens,
                completed_requests=self._completed,
                aborted_requests=self._aborted,
                failed_requests=self._failed,
            )

    def close(self) -> None:
        """Stop the thread; whatever is unfinished ends as aborted."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()

    def _run(self) -> None:
        while work := self._next_work():
            work()
        with self._changed:
            for errand in self._errands:
                errand()
            for request in [*self._batch.requests, *self._waiting]:
                self._end(request, "aborted")
            self._batch.keep([])

    def _next_work(self) -> Callable[[], None] | None:
        """Wait for an errand or for a step to take; errands go first. None once closed."""
        with self._changed:
            while not self._closed:
                if self._errands:
                    return self._errands.popleft()
                if self._paused or not (self._batch or self._waiting):
                    self._changed.wait()
                elif (gather_s := self._time_to_gather()) > 0:
                    self._changed.wait(gather_s)
                else:
                    return self._timed_step
        return None

    def _timed_step(self) -> None:
        started_s = time.monotonic()
        try:
            with torch.inference_mode():
                self._step()
        except Exception as error:  # noqa: BLE001 - a broken step must reach those who wait, not kill the thread
            self._fail_all(error)
        self._busy_s += time.monotonic() - started_s

    def _time_to_gather(self) -> float:
        if self._batch or len(self._waiting) >= self._max_rows:
            return 0.0
        return _GATHER_S - (time.monotonic() - self._last_arrival_s)

    def _between_steps(self, action: Callable[[], Any]) -> Any:
        """Have the engine's thread run ``action`` between two steps; its result, or what it raises."""
        outcome: Future[Any] = Future()

        def errand() -> None:
            try:
                outcome.set_result(action())
            except Exception as error:  # noqa: BLE001 - it belongs to the caller
                outcome.set_exception(error)

        with self._changed:
            if self._closed:
                raise EngineClosed("the engine is closed")
            self._errands.append(errand)
            self._changed.notify_all()
        return outcome.result()

    def _step(self) -> None:
        self._joining = self._admit()
        if self._joining:
            self._batch.join(self._joining)
            self._joining = []
        requests = self._batch.requests
        if not requests:
            return
        tokens, log_probs = sample(self._batch.logits(), [r.sampling for r in requests], self._generator)
        going_on = []
        for row, (request, token, log_prob) in enumerate(zip(requests, tokens, log_probs, strict=True)):
            if not request.ended and self._extend(request, token, log_prob):
                going_on.append(row)
        done = len(requests) - len(going_on)
        if done and (not going_on or done >= len(requests) // _LOT_SHARE):
            self._batch.keep(going_on)
            tokens = [tokens[row] for row in going_on]
        if self._batch:
            self._batch.advance(tokens)

    def _extend(self, request: Request, token: int, log_prob: float) -> bool:
        """Add a token to a request; returns whether it goes on."""
        if request.future.cancelled():
            self._end(request, "aborted")
        elif not math.isfinite(log_prob):
            self._end(request, EngineError("the model's scores hold NaN or infinity; are its weights finite?"))
        else:
            request.token_ids.append(token)
            request.log_probs.append(log_prob)
            self._generated_tokens += 1
            if token in self._eos_token_ids:
                self._end(request, "completed")
            elif len(request.token_ids) >= request.sampling.max_new_tokens:
                self._end(request, "length")
        return not request.ended

    def _admit(self) -> list[Request]:
        """The next requests by priority, within the free rows and the prefill budget."""
        with self._changed:
            free_rows = self._max_rows - len(self._batch)
            if self._batch and free_rows < max(1, self._max_rows // _LOT_SHARE):
                return []
            admitted: list[Request] = []
            prompts: set[tuple[int, ...]] = set()
            longest_tokens = 0
            while self._waiting and len(admitted) < free_rows:
                request = self._waiting[0]
                if request.future.cancelled():
                    self._end(heapq.heappop(self._waiting), "aborted")
                    continue
                prompts.add(request.prompt_token_ids)
                longest_tokens = max(longest_tokens, len(request.prompt_token_ids))
                if admitted and longest_tokens * len(prompts) > self._max_prefill_tokens:
                    break
                request.version_at_start = self._version
                self._prompt_tokens += len(request.prompt_token_ids)
                admitted.append(heapq.heappop(self._waiting))
            return admitted

    def _end(self, request: Request, outcome: StopReason | Exception) -> None:
        """End a request, unless it has ended, and count it; one that was cancelled counts as aborted."""
        with self._changed:
            if request.ended:
                return
            awaited = request.end(outcome, self._version)
            if outcome == "aborted" or not awaited:
                self._aborted += 1
            elif isinstance(outcome, Exception):
                self._failed += 1
            else:
                self._completed += 1

    def _abort_all(self, with_waiting: bool) -> int:
        with self._changed:
            ending = [request for request in self._batch.requests if not request.ended]
            self._batch.keep([])
            if with_waiting:
                ending += self._waiting
                self._waiting = []
            for request in ending:
                self._end(request, "aborted")
            return len(ending)

    def _fail_all(self, error: Exception) -> None:
        with self._changed:
            for request in [*self._batch.requests, *self._joining]:
                self._end(request, error)
            self._batch.keep([])
            self._joining = []
