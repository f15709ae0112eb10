"""verl's agent-loop workers under our manager: what they tell, and how they stop. Real Ray and TransferQueue.

The loops themselves stand still or end as the test says, in the place of servers that need a device.
"""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
import transfer_queue as tq
from omegaconf import OmegaConf
from real_queue import names

from pangu_verl.integrations.verl.scheduling.rollout.agent_loops import ScheduledAgentLoopWorker
from pangu_verl.integrations.verl.scheduling.rollout.notices import Settled

pytestmark = pytest.mark.own_process

CONFIG = OmegaConf.create({"actor_rollout_ref": {"rollout": {"n": 2, "val_kwargs": {"n": 1}}}})
TRAJECTORY = {"validate": False}


class Posted(list[Any]):
    """Stands for the mailbox's handle."""

    @property
    def post(self) -> Any:
        return SimpleNamespace(remote=self.append)


class ScriptedWorker(ScheduledAgentLoopWorker):
    """Without tokenizer and tools; session 0 ends at once, and session 1 when ``released``, or while it writes."""

    def __init__(self) -> None:
        self.config = CONFIG
        self.llm_client = SimpleNamespace(mailbox=Posted())
        self._generations = {}
        self._writing = set()
        self.is_judged = asyncio.Event()
        self.is_judged.set()
        self.released = asyncio.Event()
        self.ends_now = asyncio.Event()
        self.writes_now = asyncio.Event()
        self.may_write = asyncio.Event()

    async def run(self, uid: str) -> None:
        await self._run_prompt({"uid": uid}, {}, TRAJECTORY)

    @property
    def told(self) -> list[str]:
        return [notice.uid for notice in self.llm_client.mailbox if isinstance(notice, Settled)]


@pytest.fixture
def worker(rollout: Any, monkeypatch: pytest.MonkeyPatch) -> ScriptedWorker:
    from pangu_verl.integrations.verl.scheduling.rollout import agent_loops

    async def run_agent_loop(self: Any, sampling_params: Any, **kwargs: Any) -> None:
        if kwargs["session_id"] == 1:
            await self.released.wait()
        await self._agent_loop_postprocess(None, False, **kwargs)

    async def postprocess(self: Any, output: Any, validate: bool, **kwargs: Any) -> None:
        if kwargs["session_id"] == 1:
            self.ends_now.set()
            await self.is_judged.wait()
        await self._compute_teacher_logprobs()
        if kwargs["session_id"] == 1:
            self.writes_now.set()
            await self.may_write.wait()
        name = f"{kwargs['uid']}_{kwargs['session_id']}_0"
        await tq.async_kv_put(key=name, partition_id="train", tag={"status": "success"})

    async def compute_teacher_logprobs(self: Any) -> None:
        return None

    monkeypatch.setattr(agent_loops._VerlWorker, "_run_agent_loop", run_agent_loop)
    monkeypatch.setattr(agent_loops._VerlWorker, "_compute_teacher_logprobs", compute_teacher_logprobs)
    monkeypatch.setattr(agent_loops._VerlWorker, "_agent_loop_postprocess", postprocess)
    return ScriptedWorker()


def status(uid: str) -> str:
    return str(tq.kv_list("train")["train"][uid]["status"])


def test_the_end_of_each_session_and_of_the_generation_are_told(worker: ScriptedWorker) -> None:
    async def play() -> None:
        worker.released.set()
        worker.may_write.set()
        await worker.run("p0.0")

    asyncio.run(play())
    assert worker.told == ["p0.0"] * 3
    assert status("p0.0") == "finished"


def test_a_generation_that_is_given_up_ends_as_a_failed_one(worker: ScriptedWorker) -> None:
    async def play() -> None:
        running = asyncio.ensure_future(worker.run("p0.0"))
        while not worker.told:
            await asyncio.sleep(0.01)
        await worker.give_up(["p0.0", "p9.0"])
        await running

    asyncio.run(play())
    assert status("p0.0") == "failure"
    assert names("train") == {"p0.0", "p0.0_0_0"}


def test_a_row_that_is_being_written_is_written_before_the_generation_ends(worker: ScriptedWorker) -> None:
    async def play() -> None:
        worker.released.set()
        running = asyncio.ensure_future(worker.run("p0.0"))
        await worker.writes_now.wait()
        await worker.give_up(["p0.0"])
        done, _ = await asyncio.wait([running], timeout=0.1)
        assert not done
        worker.may_write.set()
        await running

    asyncio.run(play())
    assert names("train") == {"p0.0", "p0.0_0_0", "p0.0_1_0"}
    assert status("p0.0") == "failure"


def test_a_judge_that_does_not_come_back_is_not_waited_for(worker: ScriptedWorker) -> None:
    async def play() -> None:
        worker.released.set()
        worker.is_judged.clear()
        running = asyncio.ensure_future(worker.run("p0.0"))
        await worker.ends_now.wait()
        await worker.give_up(["p0.0"])
        await running

    asyncio.run(play())
    assert names("train") == {"p0.0", "p0.0_0_0"}
    assert status("p0.0") == "failure"


def test_a_generation_that_has_ended_is_forgotten(worker: ScriptedWorker) -> None:
    async def play() -> None:
        worker.released.set()
        worker.may_write.set()
        await worker.run("p0.0")
        await worker.give_up(["p0.0"])

    asyncio.run(play())
    assert status("p0.0") == "finished"
