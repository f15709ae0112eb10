"""The engine: a thread that decodes, and the calls that steer it from any other thread.

Each turn of the loop admits waiting requests by priority, decodes one token for every row and hands out what is done.
Invariants: weights change only between two steps; every request ends in exactly one completion or one exception; no
token is generated while the engine is paused. Time in steps is counted as busy, all other time as idle.
"""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from pangu_verl_cpu.text_engine.decoding import DecodingBatch
from pangu_verl_cpu.text_engine.requests import Completion, EngineError, Request, Sampling
from pangu_verl_cpu.text_engine.sampling import sample

# Rows come and go in lots of an eighth of the batch: each joining or leaving copies the key-value cache once.
_LOT_SHARE = 8
# An idle engine waits this long after the last arrival, so that the members of a group share one prefill.
_GATHER_S = 0.02


@dataclass(frozen=True, slots=True)
class EngineStatistics:
    """Counted since the start. Seconds are wall time of the engine's thread."""

    busy_s: float
    idle_s: float
    prompt_tokens: int
    generated_tokens: int
    completed_requests: int
    aborted_requests: int


class TextEngine:
    """Serves one model. ``eos_token_ids`` end a sequence (and are returned as its last token)."""

    def __init__(
        self,
        model: PreTrainedModel,
        *,
        eos_token_ids: Sequence[int],
        pad_token_id: int,
        max_rows: int,
        max_prefill_tokens: int,
        seed: int,
    ) -> None:
        self._model = model.eval()
        self._eos_token_ids = frozenset(eos_token_ids)
        self._max_length_tokens = int(model.config.max_position_embeddings)
        self._max_rows = max_rows
        self._max_prefill_tokens = max_prefill_tokens
        self._generator = torch.Generator().manual_seed(seed)
        self._batch = DecodingBatch(model, pad_token_id)
        self._waiting: list[Request] = []
        self._arrivals = itertools.count()
        self._last_arrival_s = 0.0
        self._version: int | None = None
        self._paused = self._rejecting = self._closed = False
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._step_lock = threading.Lock()
        self._started_s = time.monotonic()
        self._busy_s = 0.0
        self._prompt_tokens = self._generated_tokens = self._completed = self._aborted = 0
        self._thread = threading.Thread(target=self._run, name="text-engine", daemon=True)
        self._thread.start()

    # Called from any thread ------------------------------------------------------------------------------------------

    def submit(self, prompt_token_ids: Sequence[int], sampling: Sampling, priority: int = 0) -> Future[Completion]:
        """Queue a prompt; lower ``priority`` is served first. While paused it waits, or ends at once if rejecting."""
        self._check_length(prompt_token_ids, sampling)
        with self._changed:
            if self._closed:
                raise EngineError("the engine is closed")
            request = Request(list(prompt_token_ids), sampling, priority, next(self._arrivals))
            if self._rejecting:
                request.finish("aborted", self._version)
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
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._batch or self._closed)
            turned_away = self._waiting if reject else []
            if reject:
                self._waiting = []
            for request in turned_away:
                request.finish("aborted", self._version)
            aborted, self._last_pause_aborted = self._last_pause_aborted, 0
            return aborted + len(turned_away)

    _last_pause_aborted = 0

    def resume(self) -> None:
        """Serve again after ``pause``."""
        with self._changed:
            self._paused = self._rejecting = False
            self._changed.notify_all()

    def change_weights(self, change: Callable[[PreTrainedModel], None], version: int | None) -> None:
        """Run ``change`` on the model between two steps, then report ``version`` (None keeps the present one)."""
        with self._step_lock, torch.no_grad():
            change(self._model)
            if version is not None:
                self._version = version

    @property
    def version(self) -> int | None:
        """Version of the weights in use, None before the first publication."""
        return self._version

    def statistics(self) -> EngineStatistics:
        """Counters up to now."""
        with self._lock:
            elapsed_s = time.monotonic() - self._started_s
            return EngineStatistics(
                busy_s=self._busy_s,
                idle_s=max(0.0, elapsed_s - self._busy_s),
                prompt_tokens=self._prompt_tokens,
                generated_tokens=self._generated_tokens,
                completed_requests=self._completed,
                aborted_requests=self._aborted,
            )

    def close(self) -> None:
        """Stop the thread; whatever is unfinished ends as aborted."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()

    # The engine's thread ---------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while self._wait_for_work():
            started_s = time.monotonic()
            try:
                with self._step_lock, torch.inference_mode():
                    self._step()
            except Exception as error:  # noqa: BLE001 - a broken step must reach those who wait, not kill the thread
                self._fail_all(error)
            with self._lock:
                self._busy_s += time.monotonic() - started_s
        with self._lock:
            self._end_all("aborted")

    def _wait_for_work(self) -> bool:
        with self._changed:
            while not self._closed:
                if self._paused and self._batch:
                    self._last_pause_aborted = len(self._batch)
                    self._aborted += len(self._batch)
                    for request in self._batch.requests:
                        request.finish("aborted", self._version)
                    self._batch.keep([])
                    self._changed.notify_all()
                if not self._paused and self._batch:
                    return True
                if not self._paused and self._waiting:
                    quiet_s = time.monotonic() - self._last_arrival_s
                    if quiet_s >= _GATHER_S or len(self._waiting) >= self._max_rows:
                        return True
                    self._changed.wait(_GATHER_S - quiet_s)
                else:
                    self._changed.wait()
        return False

    def _step(self) -> None:
        if admitted := self._admit():
            self._batch.join(admitted)
        requests = self._batch.requests
        tokens, log_probs = sample(self._batch.logits(), [r.sampling for r in requests], self._generator)
        going_on = []
        for row, (request, token, log_prob) in enumerate(zip(requests, tokens, log_probs, strict=True)):
            if request.future.done():
                continue
            request.token_ids.append(token)
            request.log_probs.append(log_prob)
            self._generated_tokens += 1
            if token in self._eos_token_ids:
                self._complete(request, "completed")
            elif len(request.token_ids) >= request.sampling.max_new_tokens:
                self._complete(request, "length")
            else:
                going_on.append(row)
        done = len(requests) - len(going_on)
        if done and (not going_on or done >= len(requests) // _LOT_SHARE):
            self._batch.keep(going_on)
            tokens = [tokens[row] for row in going_on]
        if self._batch:
            self._batch.advance(tokens)

    def _admit(self) -> list[Request]:
        """The next requests by priority, within the free rows and the prefill budget."""
        with self._lock:
            free_rows = self._max_rows - len(self._batch)
            if self._batch and free_rows < max(1, self._max_rows // _LOT_SHARE):
                return []
            admitted: list[Request] = []
            prompts: set[tuple[int, ...]] = set()
            while self._waiting and len(admitted) < free_rows:
                prompt = tuple(self._waiting[0].prompt_token_ids)
                longest = max(map(len, prompts | {prompt}))
                if admitted and longest * len(prompts | {prompt}) > self._max_prefill_tokens:
                    break
                prompts.add(prompt)
                request = heapq.heappop(self._waiting)
                request.version_at_start = self._version
                self._prompt_tokens += len(prompt)
                admitted.append(request)
            return admitted

    def _complete(self, request: Request, reason: str) -> None:
        self._completed += 1
        request.finish("completed" if reason == "completed" else "length", self._version)

    def _fail_all(self, error: Exception) -> None:
        with self._changed:
            for request in self._batch.requests:
                if not request.future.done():
                    request.future.set_exception(error)
            self._batch.keep([])
            self._changed.notify_all()

    def _end_all(self, reason: str) -> None:
        for request in [*self._batch.requests, *self._waiting]:
            if not request.future.done():
                request.finish("aborted", self._version)
        self._waiting = []
        self._batch.keep([])
        self._changed.notify_all()

    def _check_length(self, prompt_token_ids: Sequence[int], sampling: Sampling) -> None:
        length = len(prompt_token_ids)
        if length == 0:
            raise EngineError("the prompt has no tokens")
        if length + sampling.max_new_tokens > self._max_length_tokens:
            raise EngineError(
                f"prompt of {length} tokens plus max_tokens {sampling.max_new_tokens} exceeds the model's "
                f"{self._max_length_tokens} positions; shorten the prompt or lower data.max_response_length"
            )
