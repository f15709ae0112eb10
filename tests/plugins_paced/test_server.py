"""The paced servers behind verl's interface: in this process with a clock that the test moves, and as a Ray actor."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import hydra
import pytest
from omegaconf import DictConfig
from pangu_verl_paced import fleet, server
from pangu_verl_paced.journal import VERSION_UNIT
from pangu_verl_paced.lengths import NaturalLengths
from pangu_verl_paced.pacing import VARIABLE, read_pacing
from pangu_verl_paced.server import PacedServer, ServerHandle

from pangu_verl.errors import RunFailed
from pangu_verl.quickstart.tiny import make_tiny_model

RESPONSE_TOKENS = 500


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> DictConfig:
    """verl's own configuration, composed by Hydra."""
    overrides = {
        "model.path": make_tiny_model(tmp_path_factory.mktemp("models") / "tiny", lessons=0),
        "rollout.name": "pangu_paced",
        "rollout.n": 2,
        "rollout.prompt_length": 32,
        "rollout.response_length": RESPONSE_TOKENS,
        "rollout.max_num_seqs": 2,
    }
    with hydra.initialize_config_module("verl.trainer.config", version_base=None):
        composed = hydra.compose(
            "ppo_trainer", [f"actor_rollout_ref.{key}={value}" for key, value in overrides.items()]
        )
    return composed.actor_rollout_ref


class Clock:
    """Seconds of the wall, as far as the fleets know."""

    now_s = 0.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(fleet, "time", clock)
    return clock


@pytest.fixture
def paced(describe: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, config: DictConfig) -> PacedServer:
    """Server 1 with one replica of two slots, server 2 with two; 100 played seconds are one of the clock."""
    monkeypatch.setenv(VARIABLE, str(describe()))
    made = PacedServer(config.rollout, config.model)
    made.open(1, slots=2)
    made.open(2, slots=4)
    return made


@pytest.fixture
def natural(describe: Callable[..., Path]) -> Callable[[int, int], int]:
    """The length of a prompt's answer, by the prompt's number and the answer's."""
    return NaturalLengths(read_pacing(describe()).trace(trajectories=2), most_draws=100).tokens


def request(paced: PacedServer, prompt: int, made: list[int] | None = None, **more: Any) -> dict[str, Any]:
    """As verl's asynchronous client asks for it."""
    ids = paced._tokenizer.encode(f"prompt {prompt}")
    limit = {"max_tokens": RESPONSE_TOKENS - len(made or [])}
    return {"prompt_ids": [*ids, *(made or [])], "sampling_params": limit, "request_id": f"r{prompt}"} | more


async def begun(*coroutines: Any) -> list[asyncio.Task[Any]]:
    """Tasks, each of which has come to its first wait."""
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    await asyncio.sleep(0)
    return tasks


async def test_an_answer_has_the_length_of_its_place_in_the_trace_and_says_its_version(
    paced: PacedServer, clock: Clock, natural: Callable[[int, int], int]
) -> None:
    await paced.update_weights(1, global_steps=7)
    (task,) = await begun(paced.generate(1, **request(paced, 3)))
    clock.now_s += 100.0
    answer = await task
    assert len(answer.token_ids) == natural(3, 0)
    assert answer.stop_reason == "completed"
    assert answer.extra_fields["global_steps"] == 7
    assert set(answer.log_probs) == {-7 * VERSION_UNIT}


async def test_an_interrupted_request_goes_on_with_what_is_left_of_its_answer(
    paced: PacedServer, clock: Clock, natural: Callable[[int, int], int]
) -> None:
    (task,) = await begun(paced.generate(1, **request(paced, 3)))
    clock.now_s += 0.002
    await paced.abort_all_requests(1)
    first = await task
    assert first.stop_reason == "aborted"
    assert 0 < len(first.token_ids) < natural(3, 0)
    await paced.update_weights(1, global_steps=1)
    await paced.resume_generation(1)
    # On another server than before.
    (task,) = await begun(paced.generate(2, **request(paced, 3, first.token_ids)))
    clock.now_s += 100.0
    second = await task
    assert len(first.token_ids) + len(second.token_ids) == natural(3, 0)
    assert second.stop_reason == "completed"


async def test_the_answers_to_a_prompt_differ_and_one_without_a_token_yet_is_begun_again(
    paced: PacedServer, clock: Clock, natural: Callable[[int, int], int]
) -> None:
    asked = [request(paced, 5, request_id=str(number)) for number in range(4)]
    tasks = await begun(*(paced.generate(1, **each) for each in asked))
    clock.now_s += 0.001
    await paced.abort_all_requests(1)
    answers = await asyncio.gather(*tasks)
    assert [len(answer.token_ids) > 0 for answer in answers] == [True, True, False, False]
    await paced.resume_generation(1)
    again = [
        paced.generate(1, **request(paced, 5, answer.token_ids, request_id=f"again {number}"))
        for number, answer in enumerate(answers)
    ]
    tasks = await begun(*again)
    clock.now_s += 100.0
    made = [
        len(first.token_ids + second.token_ids) for first, second in zip(answers, [await t for t in tasks], strict=True)
    ]
    assert made == [natural(5, draw) for draw in range(4)]


async def test_requests_that_come_while_weights_are_on_their_way_wait_for_the_new_version(
    paced: PacedServer, clock: Clock
) -> None:
    await paced.abort_all_requests(1)
    (task,) = await begun(paced.generate(1, **request(paced, 3)))
    clock.now_s += 100.0
    await asyncio.sleep(0)
    assert not task.done()
    await paced.update_weights(1, global_steps=2)
    await paced.resume_generation(1)
    clock.now_s += 100.0
    assert (await task).extra_fields["global_steps"] == 2


async def test_a_server_that_leaves_the_balancer_sends_requests_back(paced: PacedServer, clock: Clock) -> None:
    await paced.abort_all_requests(1, reject_request=True)
    answer = await paced.generate(1, **request(paced, 3))
    assert (answer.stop_reason, answer.token_ids) == ("aborted", [])


async def test_one_request_can_be_given_up(paced: PacedServer, clock: Clock) -> None:
    first, second = await begun(*(paced.generate(1, **request(paced, prompt)) for prompt in (3, 4)))
    assert (await paced.abort_request(1, "r3"))["aborted"]
    assert (await first).stop_reason == "aborted"
    assert not second.done()
    clock.now_s += 100.0
    await second
    assert not (await paced.abort_request(1, "r3"))["aborted"]


async def test_a_server_of_several_replicas_deals_requests_out_evenly(paced: PacedServer, clock: Clock) -> None:
    tasks = await begun(*(paced.generate(2, **request(paced, prompt)) for prompt in range(4)))
    assert [replica.num_requests for replica in paced._fleets[2]._replicas] == [2, 2]
    clock.now_s += 100.0
    await asyncio.gather(*tasks)


async def test_weights_without_a_version_are_refused(paced: PacedServer) -> None:
    with pytest.raises(RunFailed, match="without global_steps"):
        await paced.update_weights(1)


def test_a_handle_passes_calls_on_with_the_number_of_its_server() -> None:
    class Method:
        def remote(self, *args: Any, **kwargs: Any) -> Any:
            return args, kwargs

    handle = pickle.loads(pickle.dumps(ServerHandle(SimpleNamespace(), 4)))  # type: ignore[arg-type]
    assert handle.server == 4
    handle = ServerHandle(SimpleNamespace(generate=Method(), __ray_call__=Method()), 4)  # type: ignore[arg-type]
    assert handle.generate.remote("a", b=1) == ((4, "a"), {"b": 1})
    assert handle.__ray_call__.remote("look") == (("look",), {})
    assert not hasattr(handle, "_private")


@pytest.fixture
def cluster(describe: Callable[..., Path]) -> Iterator[None]:
    """A Ray of the test's own."""
    import ray

    variables = {"VERL_PLATFORM": "cpu", "OMP_NUM_THREADS": "1", VARIABLE: str(describe(time_scale=1e6))}
    paths = {"PYTHONPATH": str(Path(server.__file__).parents[1])}
    ray.init(
        address="local",
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        runtime_env={"env_vars": variables | paths},
    )
    yield
    ray.shutdown()


@pytest.mark.own_process
def test_replicas_of_verl_share_one_process_and_take_weights_from_its_checkpoint_manager(
    cluster: None, config: DictConfig, natural: Callable[[int, int], int]
) -> None:
    import ray
    from pangu_verl_paced.rollout import PacedServerReplica
    from verl.checkpoint_engine.base import CheckpointEngineWorker
    from verl.single_controller.ray import RayClassWithInitArgs, RayWorkerGroup

    replicas = [PacedServerReplica(rank, config.rollout, config.model, gpus_per_node=3) for rank in (1, 2, 3)]

    async def opened() -> None:
        await asyncio.gather(*(replica.init_standalone() for replica in replicas))

    asyncio.run(opened())
    workers = [worker for replica in replicas for worker in replica.workers]
    group = RayWorkerGroup(
        worker_handles=workers, ray_cls_with_init=RayClassWithInitArgs(cls=ray.remote(CheckpointEngineWorker))
    )
    assert ray.get(group.execute_checkpoint_engine(["prepare"] * group.world_size)) == [{}, {}, {}]
    ray.get(group.update_weights(global_steps=4))
    statistics = ray.get([replica.server_handle.statistics.remote() for replica in replicas])
    assert [each["version"] for each in statistics] == [4, 4, 4]
    handle = ray.get(ray.put(replicas[2].server_handle))
    asked = {"prompt_ids": list(b"prompt 3"), "sampling_params": {}, "request_id": "r"}
    # Byte by byte is not how the tokenizer counts, so its own ids are asked for.
    asked["prompt_ids"] = ray.get(handle.__ray_call__.remote(lambda actor: actor._tokenizer.encode("prompt 3")))
    answer = ray.get(handle.generate.remote(**asked))
    assert (len(answer.token_ids), answer.extra_fields["global_steps"]) == (natural(3, 0), 4)
    actors = [name for name in ray.util.list_named_actors() if "server" in name]
    assert actors == [server.SERVER_NAME]
