"""What the example scripts ask of verl: its own classes take it, its batches divide, and a dry run explains it."""

from __future__ import annotations

import json

import pytest
from example_scripts import SCRIPTS, Called, run
from omegaconf import DictConfig, OmegaConf
from qwen3_8b import SHAPE
from typer.testing import CliRunner

#: What may differ between a script for Ascend and its twin for CUDA.
DEVICES_OWN = {
    "backend",
    "trainer.experiment_name",
    "actor_rollout_ref.rollout.checkpoint_engine.update_weights_bucket_megabytes",
    "actor_rollout_ref.rollout.cudagraph_capture_sizes",
    "actor_rollout_ref.rollout.engine_kwargs.vllm.compilation_config.cudagraph_mode",
}
#: A test machine has fewer processors than a node with 8 devices.
PROCESSORS = "ray_kwargs.ray_init.num_cpus=64"

NAMES = [script.stem for script in SCRIPTS]
each_name = pytest.mark.parametrize("name", NAMES)
each_separate = pytest.mark.parametrize("name", [name for name in NAMES if "separate" in name])
each_megatron = pytest.mark.parametrize("name", [name for name in NAMES if "megatron" in name])


@pytest.fixture
def visible(monkeypatch: pytest.MonkeyPatch) -> None:
    """The devices that the scripts make visible."""
    for variable in ("ASCEND_RT_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.setenv(variable, "0,1,2,3,4,5,6,7")


@each_name
@pytest.mark.parametrize("section", ["actor_rollout_ref.actor", "actor_rollout_ref.rollout", "actor_rollout_ref.model"])
def test_verls_own_dataclasses_take_what_a_script_asks_for(
    configurations: dict[str, DictConfig], name: str, section: str
) -> None:
    from verl.utils.config import omega_conf_to_dataclass

    node = OmegaConf.select(configurations[name], section)
    assert type(omega_conf_to_dataclass(node)).__name__ == node._target_.rpartition(".")[2]


@each_name
def test_verl_finds_what_a_script_asks_for_valid(configurations: dict[str, DictConfig], name: str) -> None:
    from verl.trainer.ppo.utils import need_critic, need_reference_policy
    from verl.utils.config import validate_config

    config = configurations[name]
    assert not need_reference_policy(config) and not need_critic(config)
    validate_config(config, use_reference_policy=False, use_critic=False)


@each_name
def test_the_name_of_a_script_tells_engine_mode_and_device(configurations: dict[str, DictConfig], name: str) -> None:
    config = configurations[name]
    assert config.actor_rollout_ref.actor.strategy == ("megatron" if "megatron" in name else "fsdp2")
    assert config.trainer.v1.trainer_mode == ("separate_async" if "separate" in name else "sync")
    assert config.trainer.device == ("npu" if name.endswith("_npu") else "cuda")


@pytest.mark.usefixtures("visible")
@each_name
def test_the_layout_takes_all_eight_devices(configurations: dict[str, DictConfig], name: str) -> None:
    from pangu_verl.integrations.verl.layout import layout_of

    layout = layout_of(configurations[name])
    assert layout.devices == 8
    assert layout.trainer_workers == (4 if "separate" in name else 8)
    assert layout.trajectories_per_step == 512


@each_separate
def test_weights_go_to_the_rollout_after_the_whole_batch(configurations: dict[str, DictConfig], name: str) -> None:
    config = configurations[name]
    separate, rollout = config.trainer.v1.separate_async, config.actor_rollout_ref.rollout
    mini_batch = config.actor_rollout_ref.actor.ppo_mini_batch_size
    assert config.data.train_batch_size == separate.parameter_sync_step * mini_batch
    assert (rollout.nnodes, rollout.n_gpus_per_node) == (1, 4)
    assert rollout.checkpoint_engine.backend != "naive"


@each_separate
def test_the_rollout_is_as_far_ahead_as_the_bound_allows(configurations: dict[str, DictConfig], name: str) -> None:
    v1 = configurations[name].trainer.v1
    assert v1.sampler.max_off_policy_threshold == v1.separate_async.num_warmup_batches + 1


@each_name
def test_a_batch_of_tokens_holds_the_longest_sequence(configurations: dict[str, DictConfig], name: str) -> None:
    config = configurations[name]
    longest = config.data.max_prompt_length + config.data.max_response_length
    assert config.actor_rollout_ref.rollout.max_model_len == longest
    assert config.actor_rollout_ref.actor.ppo_max_token_len_per_gpu % longest == 0


@each_name
def test_tensor_parallelism_divides_all_heads(configurations: dict[str, DictConfig], name: str) -> None:
    config = configurations[name].actor_rollout_ref
    sizes = [config.rollout.tensor_model_parallel_size]
    if "megatron" in name:
        sizes.append(config.actor.megatron.tensor_model_parallel_size)
    for heads in (SHAPE["num_attention_heads"], SHAPE["num_key_value_heads"]):
        assert all(heads % size == 0 for size in sizes)


@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith("_npu") and "fsdp2" in name])
def test_the_bucket_holds_the_embedding_in_full_precision(configurations: dict[str, DictConfig], name: str) -> None:
    config = configurations[name].actor_rollout_ref
    assert config.actor.fsdp_config.model_dtype == "fp32"
    bucket_bytes = config.rollout.checkpoint_engine.update_weights_bucket_megabytes << 20
    assert bucket_bytes >= SHAPE["vocab_size"] * SHAPE["hidden_size"] * 4


@each_megatron
def test_megatrons_bridge_is_the_one_that_the_vendors_image_carries(
    configurations: dict[str, DictConfig], name: str
) -> None:
    for megatron in (configurations[name].actor_rollout_ref.actor.megatron, configurations[name].critic.megatron):
        assert megatron.vanilla_mbridge == name.endswith("_npu")


@pytest.mark.parametrize("name", [name for name in NAMES if not name.endswith("_npu")])
def test_twins_differ_in_nothing_but_the_device(calls: dict[str, Called], name: str) -> None:
    ours, twins = calls[name].values, calls[f"{name}_npu"].values
    assert {key for key in {*ours, *twins} if ours.get(key) != twins.get(key)} <= DEVICES_OWN


@pytest.mark.parametrize("name", [name for name in NAMES if "separate" not in name])
def test_a_separate_layout_differs_only_where_it_must(calls: dict[str, Called], name: str) -> None:
    separate = name.removesuffix("_npu") + "_separate" + ("_npu" if name.endswith("_npu") else "")
    ours, theirs = calls[name].values, calls[separate].values
    assert {key for key in {*ours, *theirs} if ours.get(key) != theirs.get(key)} == {
        "actor_rollout_ref.rollout.n_gpus_per_node",
        "actor_rollout_ref.rollout.nnodes",
        "trainer.experiment_name",
        "trainer.n_gpus_per_node",
        "trainer.v1.sampler.max_off_policy_strategy",
        "trainer.v1.sampler.max_off_policy_threshold",
        "trainer.v1.separate_async.num_warmup_batches",
        "trainer.v1.separate_async.parameter_sync_step",
        "trainer.v1.trainer_mode",
    }


# --- the dry run -----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("visible")
@each_name
def test_a_dry_run_plans_every_script(calls: dict[str, Called], name: str) -> None:
    from pangu_verl.cli import app

    answer = CliRunner().invoke(app, [*calls[name].arguments, "--dry-run", "--json", PROCESSORS])
    assert answer.exit_code == 0, answer.output
    plan = json.loads(answer.stdout.splitlines()[-1])["plan"]
    assert (plan["devices"], plan["layout"]["prompts_per_mini_batch"]) == (8, 32)


@pytest.mark.usefixtures("visible")
@each_separate
def test_a_dry_run_refuses_a_batch_that_does_not_go_over_whole(calls: dict[str, Called], name: str) -> None:
    from pangu_verl.cli import app

    answer = CliRunner().invoke(app, [*calls[name].arguments, "--dry-run", PROCESSORS, "data.train_batch_size=48"])
    assert answer.exit_code == 2
    assert "64 prompts between two weight updates, and data.train_batch_size is 48" in answer.stderr


def test_a_dry_run_from_the_shell_prints_configuration_and_plan(variables: dict[str, str]) -> None:
    script = next(script for script in SCRIPTS if script.stem == "run_qwen3_8b_megatron_separate_npu")
    answer = run(script, variables | {"DRY_RUN": "1"}, PROCESSORS)
    assert answer.returncode == 0, answer.stderr
    assert "train_batch_size: 64" in answer.stdout
    assert "64 prompts x 8 responses = 512" in answer.stdout
    assert "8 (4 trainer + 4 rollout)" in answer.stdout
