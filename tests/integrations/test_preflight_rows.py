"""The files and prompts of a run, looked at before it starts; each complaint is one line that names file and row."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from omegaconf import DictConfig
from preflight_checks import PROMPT, REWARD, Change, complaint, rows

from pangu_verl.integrations.verl import preflight

# --- files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["train_files", "val_files"])
@pytest.mark.parametrize("value", [None, "", []])
def test_a_file_that_is_not_set_is_named_with_an_example(change: Change, key: str, value: object) -> None:
    text = complaint(change(**{f"data__{key}": value}))
    assert text.startswith(f"data.{key} is not set; name a parquet file, for example data.{key}=")


@pytest.mark.parametrize("key", ["train_files", "val_files"])
def test_a_missing_file_is_named(change: Change, key: str, tmp_path: Path) -> None:
    missing = tmp_path / "missing.parquet"
    assert (
        complaint(change(**{f"data__{key}": str(missing)})) == f"data.{key}: there is no file {missing}; check the path"
    )


def test_the_missing_one_of_several_files_is_named(change: Change, base: DictConfig, tmp_path: Path) -> None:
    missing = tmp_path / "b.parquet"
    assert str(missing) in complaint(change(data__train_files=[base.data.train_files, str(missing)]))


@pytest.mark.parametrize(
    "content", [b"", b"PAR1", b"\x00" * 100, b'{"prompt": []}\n', b"PAR1" + b"\xff" * 64 + b"PAR1"]
)
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
    assert (
        complaint(change(data__val_files=str(file))) == f"data.val_files: {file} has no rows; a run needs at least one"
    )


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


def test_an_ability_that_no_source_judges_is_named_with_those_that_are_judged(change: Change, tmp_path: Path) -> None:
    file = tmp_path / "rows.parquet"
    pd.concat([rows(), rows(ability="poems")]).to_parquet(file)
    text = complaint(change(data__train_files=str(file), pangu__rewards__sources=["maths"]))
    assert text == (
        f"data.train_files: {file} has rows of ability 'poems', which no reward source judges (known: math); "
        "correct the column, install a plugin that judges them, or name them in pangu.rewards.sources"
    )


def test_a_reward_source_that_does_not_exist_is_named(change: Change) -> None:
    assert "there is no reward source 'poets' (registered: maths, " in complaint(
        change(pangu__rewards__sources=["poets"])
    )


def test_a_setting_of_rewards_that_means_nothing_is_named(change: Change) -> None:
    assert complaint(change(pangu__rewards__unjudged_limit=2)).startswith("pangu.rewards.unjudged_limit: ")
    assert "options.maths: this reward source takes no options" in complaint(
        change(pangu__rewards__options={"maths": {"slots": 3}})
    )


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


@pytest.mark.parametrize(
    "prompt", ["What is 1 + 2?", None, 7, [{"text": "no role"}], [{"role": "user", "content": None}]]
)
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
