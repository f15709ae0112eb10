"""What is looked at before a run starts. Every complaint is one line that names the thing and says what to do."""

from __future__ import annotations

import copy
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from omegaconf import DictConfig, OmegaConf

from pangu_verl.errors import WrongUse
from pangu_verl.integrations.verl import preflight
from pangu_verl.integrations.verl.configuration import compose

PROMPT = [{"role": "user", "content": "What is 1 + 2?"}]
REWARD = "def compute_score(data_source, solution_str, ground_truth, extra_info=None):\n    return 1.0\n"

Change = Callable[..., DictConfig]


def rows(count: int = 8, **columns: Any) -> pd.DataFrame:
    """Rows as verl takes them; a column of ``...`` is left out."""
    row = {
        "prompt": PROMPT,
        "data_source": "sums",
        "ability": "math",
        "reward_model": {"style": "rule", "ground_truth": "3"},
        "extra_info": {"index": 0},
        **columns,
    }
    return pd.DataFrame([{name: value for name, value in row.items() if value is not ...}] * count)


@pytest.fixture(scope="module")
def base(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> DictConfig:
    """A configuration that passes."""
    before = dict(os.environ)
    file = tmp_path_factory.mktemp("data") / "rows.parquet"
    rows().to_parquet(file)
    paths = [f"data.train_files={file}", f"data.val_files={file}", f"actor_rollout_ref.model.path={tiny_model}"]
    config = compose("quickstart_tiny", paths)
    os.environ.clear()
    os.environ.update(before)
    return config


@pytest.fixture
def change(base: DictConfig) -> Change:
    """The passing configuration with some keys set."""

    def changed(**values: Any) -> DictConfig:
        config = copy.deepcopy(base)
        for key, value in values.items():
            OmegaConf.update(config, key.replace("__", "."), value, force_add=True)
        return config

    return changed


def complaint(config: DictConfig) -> str:
    with pytest.raises(WrongUse) as caught:
        preflight.check(config)
    assert "\n" not in str(caught.value)
    return str(caught.value)


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


# --- files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["train_files", "val_files"])
@pytest.mark.parametrize("value", [None, "", []])
def test_a_file_that_is_not_set_is_named_with_an_example(change: Change, key: str, value: object) -> None:
    text = complaint(change(**{f"data__{key}": value}))
    assert text.startswith(f"data.{key} is not set; name a parquet file, for example data.{key}=")


@pytest.mark.parametrize("key", ["train_files", "val_files"])
def test_a_missing_file_is_named(change: Change, key: str, tmp_path: Path) -> None:
    missing = tmp_path / "missing.parquet"
    assert complaint(change(**{f"data__{key}": str(missing)})) == f"data.{key}: there is no file {missing}; check the path"


def test_the_missing_one_of_several_files_is_named(change: Change, base: DictConfig, tmp_path: Path) -> None:
    missing = tmp_path / "b.parquet"
    assert str(missing) in complaint(change(data__train_files=[base.data.train_files, str(missing)]))


@pytest.mark.parametrize("content", [b"", b"PAR1", b"\x00" * 100, b'{"prompt": []}\n', b"PAR1" + b"\xff" * 64 + b"PAR1"])
def test_a_file_that_is_no_parquet_is_named(change: Change, tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "rows.parquet"
    file.write_bytes(content)
    text = complaint(change(data__train_files=str(file)))
    assert text.startswith(f"data.train_files: {file} is not a parquet file (")


def test_a_parquet_file_whose_pages_are_damaged_is_named(change: Change, base: DictConfig, tmp_path: Path) -> None:
    file = tmp_path / "rows.parquet"
    whole = Path(base.data.train_files).read_bytes()
    file.write_bytes(whole[:4] + b"\xff" * 200 + whole[204:])
    assert complaint(change(data__train_files=str(file))).startswith(f"data.train_files: {file} ")


def test_a_file_without_rows_is_named(change: Change, tmp_path: Path) -> None:
    file = tmp_path / "rows.parquet"
    rows().head(0).to_parquet(file)
    assert complaint(change(data__val_files=str(file))) == f"data.val_files: {file} has no rows; a run needs at least one"


def test_a_file_of_another_kind_is_named(change: Change, tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text("prompt\n")
    assert complaint(change(data__train_files=str(file))) == (
        f"data.train_files: verl reads .parquet, .json and .jsonl, got {file}; convert or rename it"
    )


@pytest.mark.parametrize("column", ["prompt", "data_source", "reward_model", "ability"])
def test_a_missing_column_is_named_beside_those_that_are_there(change: Change, tmp_path: Path, column: str) -> None:
    file = tmp_path / "rows.parquet"
    rows(**{column: ...}).to_parquet(file)
    text = complaint(change(data__train_files=str(file)))
    assert f"{file} lacks the column {column!r} (it has " in text
    assert "extra_info" in text


def test_the_users_own_reward_needs_no_ability(change: Change, tmp_path: Path) -> None:
    file, module = tmp_path / "rows.parquet", tmp_path / "reward.py"
    rows(ability=...).to_parquet(file)
    module.write_text(REWARD)
    preflight.check(change(data__train_files=str(file), reward__custom_reward_function__path=str(module)))


def test_the_column_of_prompts_may_have_another_name(change: Change, tmp_path: Path) -> None:
    file = tmp_path / "rows.parquet"
    rows(prompt=..., question=PROMPT).to_parquet(file)
    preflight.check(change(data__train_files=str(file), data__val_files=str(file), data__prompt_key="question"))


def test_a_dataset_class_of_the_users_reads_what_it_likes(change: Change) -> None:
    config = change(data__custom_cls__path="mine.py", data__train_files="anything", data__val_files=None)
    preflight.check(config)


def test_fewer_rows_than_a_step_takes_are_counted(change: Change, base: DictConfig) -> None:
    files = [base.data.train_files] * 2
    preflight.check(change(data__train_files=files, data__train_batch_size=16))
    text = complaint(change(data__train_files=files, data__train_batch_size=24))
    assert text == (
        "data.train_files hold 16 rows and a step takes data.train_batch_size=24; give more rows or a smaller batch"
    )


# --- prompts ---------------------------------------------------------------------------------------------------------


def test_a_prompt_over_the_limit_is_named_by_row_with_both_numbers(change: Change, tmp_path: Path) -> None:
    file = tmp_path / "rows.parquet"
    long = rows(1, prompt=[{"role": "user", "content": "x" * 300}])
    pd.concat([rows(3), long, rows(4)], ignore_index=True).to_parquet(file)
    assert complaint(change(data__val_files=str(file))) == (
        f"data.val_files: {file} row 3: the prompt has 319 tokens, the limit is 160; "
        "raise data.max_prompt_length or set data.filter_overlong_prompts=true"
    )


def test_a_prompt_of_exactly_the_limit_passes(change: Change, tmp_path: Path) -> None:
    file = tmp_path / "rows.parquet"
    rows(8, prompt=[{"role": "user", "content": "x" * 141}]).to_parquet(file)
    preflight.check(change(data__train_files=str(file)))


@pytest.mark.parametrize("key", ["data__filter_overlong_prompts", "data__truncation"])
def test_long_prompts_pass_where_verl_deals_with_them(change: Change, tmp_path: Path, key: str) -> None:
    file = tmp_path / "rows.parquet"
    rows(8, prompt=[{"role": "user", "content": "x" * 300}]).to_parquet(file)
    value = True if key.endswith("prompts") else "left"
    preflight.check(change(**{"data__train_files": str(file), key: value}))


@pytest.mark.parametrize("prompt", ["What is 1 + 2?", None, 7, [{"text": "no role"}], [{"role": "user", "content": None}]])
def test_a_prompt_that_the_chat_template_refuses_is_named_by_row(
    change: Change, tmp_path: Path, prompt: object
) -> None:
    file = tmp_path / "rows.parquet"
    rows(8, prompt=prompt).to_parquet(file)
    text = complaint(change(data__train_files=str(file)))
    assert text.startswith(f"data.train_files: {file} row 0: the prompt does not fit the chat template (")
    assert text.endswith("a prompt is a list of messages with role and content")


def test_a_chat_template_of_the_users_is_used(change: Change) -> None:
    config = change(actor_rollout_ref__model__custom_chat_template="{{ raise_exception('not\nthis') }}")
    assert "does not fit the chat template (not); a prompt is" in complaint(config)


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
    keys = {"trainer__n_gpus_per_node": 4, "actor_rollout_ref__actor__ulysses_sequence_parallel_size": 2}
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
