"""The shared counts as a real actor of Ray, with a worker in a process of its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import ray
from omegaconf import OmegaConf

from pangu_verl.integrations.verl.monitor import start_monitor
from pangu_verl.integrations.verl.shared_state import find_state, start_state, state_metrics

CONFIG = OmegaConf.create({"pangu": {"rewards": {"unjudged_limit": 0.5, "unjudged_window_rows": 8}}})


@pytest.fixture(scope="module", autouse=True)
def session() -> Iterator[None]:
    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


def remote_worker() -> Any:
    """Made here, because a worker cannot import the tests."""

    async def judge(judged: int, unjudged: int) -> None:
        from pangu_verl.integrations.verl.shared_state import Recorder, find_state
        from pangu_verl.mars.ladder import Opinion
        from pangu_verl.mars.settings import RewardSettings
        from pangu_verl.mars.state import JudgedRow
        from pangu_verl.types import Verdict

        recorder = Recorder(RewardSettings())
        for number in range(judged + unjudged):
            passed = True if number < judged else None
            score = None if passed is None else 1.0
            opinion = Opinion(source="maths", score=score, passed=passed, reason="no gold", seconds=0.0)
            verdict = Verdict(score=score, passed=passed, reason="no gold", source="maths")
            recorder.record(JudgedRow(id="7", domain="math", verdict=verdict, opinions=(opinion,)))
        await find_state().to_json.remote()  # calls of one caller are taken in their order

    def run(judged: int, unjudged: int) -> None:
        import asyncio

        asyncio.run(judge(judged, unjudged))

    return ray.remote(num_cpus=0)(run)


def test_workers_and_trainer_share_one_actor_and_its_alarm_reaches_the_driver() -> None:
    assert find_state() is None
    monitor = start_monitor()
    held = start_state(CONFIG)
    assert start_state(CONFIG) == held
    worker = remote_worker()
    ray.get([worker.remote(3, 1), worker.remote(3, 1)])
    assert state_metrics()["mars/maths/math/judged"] == 6
    assert ray.get(monitor.failure.remote()) is None
    ray.get(worker.remote(0, 5))
    assert state_metrics()["mars/maths/math/unjudged"] == 7
    assert "reward source 'maths' could not judge 5 of its last 8 rows" in ray.get(monitor.failure.remote())
