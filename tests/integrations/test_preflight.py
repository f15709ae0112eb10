"""What is looked at before a run starts: model, backend, reward, ports, batches; each complaint is one line."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from omegaconf import DictConfig
from preflight_checks import Change, complaint

from pangu_verl.integrations.verl import preflight


def test_a_sound_configuration_passes(base: DictConfig) -> None:
    preflight.check(base)


# --- model -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["/no/such/folder", "./missing", "~/missing", "missing", "a/b/c"])
def test_a_missing_model_folder_is_named(change: Change, name: str) -> None:
    text = complaint(change(actor_rollout_ref__model__path=name))
    assert text == f"actor_rollout_ref.model.path: there is no model folder {name}; check the path"


def test_a_folder_that_holds_no_model_is_named(change: Change, tmp_path: Path) -> None:
    text = complaint(change(actor_rollout_ref__model__path=str(tmp_path)))
    assert text.endswith(f"{tmp_path} has no config.json; name a Hugging Face model folder")


def test_a_file_in_place_of_a_model_folder_is_named(
    change: Change, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "file").write_text("")
    assert "no model folder models/file" in complaint(change(actor_rollout_ref__model__path="models/file"))


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe"])
def test_a_model_whose_config_is_damaged_is_named(change: Change, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "config.json").write_bytes(content)
    assert complaint(change(actor_rollout_ref__model__path=str(tmp_path))) == (
        f"actor_rollout_ref.model.path: {tmp_path / 'config.json'} holds no JSON object; fetch the model anew"
    )


def test_a_model_of_an_unknown_type_is_said_in_one_line(change: Change, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "no such type"}')
    assert "no such type" in complaint(change(actor_rollout_ref__model__path=str(tmp_path)))


@pytest.mark.parametrize("name", [None, ""])
def test_no_model_at_all_is_said(change: Change, name: str | None) -> None:
    assert "actor_rollout_ref.model.path is not set" in complaint(change(actor_rollout_ref__model__path=name))


def test_a_model_without_a_tokenizer_is_named(change: Change, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    text = complaint(change(actor_rollout_ref__model__path=str(tmp_path)))
    assert text.startswith(f"actor_rollout_ref.model.path: {tmp_path} has no tokenizer that can be loaded (")
    assert "name a Hugging Face model folder" in text


def test_a_model_behind_an_address_is_left_to_verl(change: Change) -> None:
    model = {"actor_rollout_ref__model__path": "hdfs://host/model", "actor_rollout_ref__model__external_lib": None}
    preflight.check(change(**model))


def test_a_file_behind_an_address_is_left_to_verl(change: Change) -> None:
    preflight.check(change(data__train_files="hdfs://host/rows.parquet"))


# --- mode and backend ------------------------------------------------------------------------------------------------


def test_the_broken_combination_of_verl_is_named(change: Change) -> None:
    keys = {"trainer__v1__trainer_mode": "separate_async", "actor_rollout_ref__hybrid_engine": False}
    text = complaint(change(**keys))
    assert text.startswith("actor_rollout_ref.hybrid_engine=false does not start in trainer_mode separate_async")


def test_a_library_that_is_not_there_is_named(change: Change) -> None:
    assert complaint(change(actor_rollout_ref__model__external_lib="no_such_library")) == (
        "actor_rollout_ref.model.external_lib=no_such_library cannot be imported: "
        "ModuleNotFoundError: No module named 'no_such_library'; install it or correct the name"
    )


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("actor_rollout_ref.rollout.tensor_model_parallel_size", 2),
        ("actor_rollout_ref.rollout.multi_turn.enable", True),
        ("actor_rollout_ref.model.lora_rank", 8),
        ("algorithm.adv_estimator", "gae"),
    ],
)
def test_what_the_backend_cannot_do_is_named_by_its_key(change: Change, key: str, value: object) -> None:
    assert key in complaint(change(**{key.replace(".", "__"): value}))


# --- reward ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("import no_such_module\n", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("raise ValueError('first\\nsecond')\n", "ValueError: first"),
        ("def broken(:\n", "SyntaxError: "),
        ("raise SystemExit(3)\n", "SystemExit: 3"),
        ("", "AttributeError: "),
    ],
)
def test_a_reward_that_cannot_be_imported_says_why(change: Change, tmp_path: Path, text: str, reason: str) -> None:
    module = tmp_path / "reward.py"
    module.write_text(text)
    found = complaint(change(reward__custom_reward_function__path=str(module)))
    assert found.startswith(f"reward.custom_reward_function {module}:compute_score cannot be imported: {reason}")
    assert found.endswith("; correct the file or the name")


def test_a_missing_reward_file_is_named(change: Change, tmp_path: Path) -> None:
    missing = tmp_path / "reward.py"
    text = complaint(change(reward__custom_reward_function__path=str(missing)))
    assert f"{missing}:compute_score cannot be imported: FileNotFoundError" in text


def test_a_reward_that_is_not_callable_is_named(change: Change, tmp_path: Path) -> None:
    module = tmp_path / "reward.py"
    module.write_text("compute_score = 1.0\n")
    text = complaint(change(reward__custom_reward_function__path=str(module)))
    assert text.endswith(f"{module}:compute_score is a float, expected a function; name one of that file")


# --- ports -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        yield holder.getsockname()[1]


def prometheus(change: Change, port: object) -> DictConfig:
    return change(
        actor_rollout_ref__rollout__prometheus__enable=True, actor_rollout_ref__rollout__prometheus__port=port
    )


def test_a_port_in_use_is_named_by_its_key(change: Change, taken_port: int) -> None:
    assert complaint(prometheus(change, taken_port)) == (
        f"actor_rollout_ref.rollout.prometheus.port: port {taken_port} is in use; "
        "name another or end the program that holds it"
    )


def test_the_dashboards_port_is_looked_at_if_there_is_a_dashboard(change: Change, taken_port: int) -> None:
    keys = {"ray_kwargs__ray_init__dashboard_port": taken_port}
    preflight.check(change(**keys))
    text = complaint(change(**keys, ray_kwargs__ray_init__include_dashboard=True))
    assert text.startswith(f"ray_kwargs.ray_init.dashboard_port: port {taken_port} is in use")


def test_a_free_port_passes(change: Change, taken_port: int) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free = probe.getsockname()[1]
    preflight.check(prometheus(change, free))


@pytest.mark.parametrize("port", [70_000, -1, "http"])
def test_a_port_that_cannot_be_is_named(change: Change, port: object) -> None:
    text = complaint(prometheus(change, port))
    assert text.startswith("actor_rollout_ref.rollout.prometheus.port")
    assert str(port) in text


# --- batches ---------------------------------------------------------------------------------------------------------


def test_trajectories_that_do_not_divide_among_the_workers_are_counted(change: Change) -> None:
    text = complaint(change(trainer__n_gpus_per_node=3))
    assert text == (
        "data.train_batch_size x rollout.n = 8 x 8 = 64 trajectories do not divide among 3 trainer workers; "
        "change one of them"
    )


def test_a_mini_batch_that_does_not_divide_among_the_workers_is_counted(change: Change) -> None:
    config = change(
        data__train_batch_size=8, actor_rollout_ref__actor__ppo_mini_batch_size=1, trainer__n_gpus_per_node=16
    )
    assert "actor.ppo_mini_batch_size x rollout.n = 1 x 8 = 8 trajectories do not divide among 16" in complaint(config)


def test_a_micro_batch_that_does_not_divide_the_mini_batch_is_counted(change: Change) -> None:
    text = complaint(change(actor_rollout_ref__actor__ppo_micro_batch_size_per_gpu=24))
    assert "ppo_micro_batch_size_per_gpu=24 does not divide" in text
    assert "8 prompts x 8 / 1 workers = 64 trajectories; choose a divisor" in text


def test_micro_batches_of_tokens_need_not_divide(change: Change) -> None:
    preflight.check(
        change(
            actor_rollout_ref__actor__ppo_micro_batch_size_per_gpu=24, actor_rollout_ref__actor__use_dynamic_bsz=True
        )
    )


@pytest.mark.parametrize(
    "key",
    [
        "data.train_batch_size",
        "data.max_prompt_length",
        "actor_rollout_ref.actor.ppo_mini_batch_size",
        "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu",
        "actor_rollout_ref.rollout.n",
        "trainer.n_gpus_per_node",
        "trainer.nnodes",
    ],
)
def test_a_size_that_is_no_whole_number_is_named(change: Change, key: str) -> None:
    text = complaint(change(**{key.replace(".", "__"): "many"}))
    assert text == f"{key} takes a whole number of at least 1, got 'many'; set {key}=..."


def test_workers_that_share_a_sequence_count_once(change: Change) -> None:
    keys = {
        "trainer__n_gpus_per_node": 4,
        "ray_kwargs__ray_init__num_gpus": 4,
        "actor_rollout_ref__actor__ulysses_sequence_parallel_size": 2,
    }
    preflight.check(change(**keys))
    assert "= 32 trajectories" in complaint(change(**keys, actor_rollout_ref__actor__ppo_micro_batch_size_per_gpu=24))


def test_parallel_sizes_that_do_not_divide_the_workers_are_named(change: Change) -> None:
    text = complaint(
        change(
            actor_rollout_ref__actor__strategy="megatron",
            actor_rollout_ref__actor__megatron={
                "tensor_model_parallel_size": 2,
                "pipeline_model_parallel_size": 2,
                "context_parallel_size": 1,
            },
        )
    )
    assert "among 4 workers" in text
    assert "1 workers do not divide into such groups" in text
