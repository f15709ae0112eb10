"""verl's agent loops, which also say when a session has ended, and can be told to give a generation up.

Invariants: what a loop does and writes is verl's; a generation that is told to stop ends as a failed one, after every
session of it has ended, so nothing of it is written afterwards; the servers are told of each request that nobody waits
for any more (``client``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import ray
import transfer_queue as tq
from verl.trainer.ppo.v1.agent_loop_tq import AgentLoopManagerTQ, AgentLoopWorkerTQ

from pangu_verl.integrations.verl.scheduling.arrivals import PARTITION
from pangu_verl.integrations.verl.scheduling.rollout.notices import Settled

#: Of ``actor_rollout_ref.rollout.agent``: where verl looks for the class of the manager.
AGENT_LOOPS_KEY = "agent_loop_manager_class"

#: The plain class behind verl's Ray actor.
_VerlWorker: type = AgentLoopWorkerTQ.__ray_metadata__.modified_class


class ScheduledAgentLoopWorker(_VerlWorker):
    """One of verl's workers; its client is a ``RecordingClient``."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._generations: dict[str, asyncio.Task[Any]] = {}
        #: Tasks that write a row, or are about to.
        self._writing: set[asyncio.Task[Any] | None] = set()

    async def give_up(self, uids: Sequence[str]) -> None:
        """Stop those of the generations that run here."""
        for uid in uids:
            if (generation := self._generations.get(uid)) is not None:
                generation.cancel()

    async def _run_prompt(self, prompt: dict[str, Any], *args: Any, **kwargs: Any) -> None:
        uid = prompt["uid"]
        generation = asyncio.current_task()
        assert generation is not None
        self._generations[uid] = generation
        try:
            await super()._run_prompt(prompt, *args, **kwargs)
        except asyncio.CancelledError:
            await tq.async_kv_put(key=uid, partition_id=PARTITION, tag={"status": "failure"})
        finally:
            del self._generations[uid]
            self._tell(uid)

    async def _run_agent_loop(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return await super()._run_agent_loop(*args, **kwargs)
        finally:
            self._tell(kwargs["uid"])

    async def _agent_loop_postprocess(self, *args: Any, **kwargs: Any) -> None:
        ending = asyncio.ensure_future(super()._agent_loop_postprocess(*args, **kwargs))
        try:
            await asyncio.shield(ending)
        except asyncio.CancelledError:
            # Half a row could not be found again, and not be cleared; a judge need not be waited for.
            if ending not in self._writing:
                ending.cancel()
            await asyncio.wait([ending])
            raise
        finally:
            self._writing.discard(ending)

    async def _compute_teacher_logprobs(self, *args: Any, **kwargs: Any) -> None:
        """What verl does last before it writes a row."""
        await super()._compute_teacher_logprobs(*args, **kwargs)
        self._writing.add(asyncio.current_task())

    def _tell(self, uid: str) -> None:
        self.llm_client.mailbox.post.remote(Settled(uid))


class ScheduledAgentLoops(AgentLoopManagerTQ):
    """verl's manager with these workers. Name it in ``agent.agent_loop_manager_class``."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.agent_loop_workers_class = ray.remote(ScheduledAgentLoopWorker)
        self.agent_loop_workers: list[ray.actor.ActorHandle] = []

    def generate_sequences(self, prompts: Any) -> None:
        """verl cuts a batch into one part for each worker, from the first on; ours are small, so the first changes."""
        super().generate_sequences(prompts)
        workers = self.agent_loop_workers
        served = min(len(prompts), len(workers))
        self.agent_loop_workers = workers[served:] + workers[:served]

    def give_up(self, uids: Sequence[str]) -> None:
        """Tell all workers, and wait for none."""
        for worker in self.agent_loop_workers:
            worker.give_up.remote(uids)
