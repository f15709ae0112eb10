"""Looks at the rows that a run is to be trained and validated on, before anything starts.

Invariant: a complaint names the file, the row and the field. What lies behind an address ("hdfs://...") is left to
verl. Nothing is written.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import pyarrow.compute as compute
import pyarrow.parquet as parquet
from omegaconf import DictConfig, OmegaConf

from pangu_verl.errors import WrongUse, first_line
from pangu_verl.integrations.verl.configuration import whole_number
from pangu_verl.integrations.verl.pool_rewards import users_function

#: Prompts are tokenized up to this many rows per file; a run stops by itself at a longer one further down.
_TOKENIZED_ROWS = 20_000


def check_rows(config: DictConfig, abilities: Collection[str] | None) -> None:
    """Raise ``WrongUse`` for the first file or row that cannot be used.

    ``abilities`` are those that a reward source judges; None where the user's own function judges all.
    """
    if config.data.custom_cls.path:
        return
    rows = {key: _check_files(f"data.{key}", config, abilities) for key in ("train_files", "val_files")}
    _check_enough_rows(rows["train_files"], config)


def _check_files(key: str, config: DictConfig, abilities: Collection[str] | None) -> int | None:
    """Check every file of ``key``; returns how many rows they hold, None where that cannot be seen here."""
    files = OmegaConf.select(config, key)
    names = [str(name) for name in ([files] if isinstance(files, str) else files or []) if name]
    if not names:
        raise WrongUse(f"{key} is not set; name a parquet file, for example {key}=path/to/rows.parquet")
    counts = [_check_file(name, key, config, abilities) for name in names]
    return None if None in counts else sum(count or 0 for count in counts)


def _check_file(name: str, key: str, config: DictConfig, abilities: Collection[str] | None) -> int | None:
    if "://" in name:
        return None
    path = Path(name).expanduser()
    if not path.is_file():
        raise WrongUse(f"{key}: there is no file {path}; check the path")
    if path.suffix in (".json", ".jsonl"):
        return None
    if path.suffix != ".parquet":
        raise WrongUse(f"{key}: verl reads .parquet, .json and .jsonl, got {path}; convert or rename it")
    try:
        file = parquet.ParquetFile(path)
    except Exception as error:
        raise WrongUse(f"{key}: {path} is not a parquet file ({first_line(error)}); write it anew") from error
    if file.metadata.num_rows == 0:
        raise WrongUse(f"{key}: {path} has no rows; a run needs at least one")
    _check_columns(file, path, key, config)
    if abilities is not None:
        _check_abilities(file, path, key, abilities)
    _check_prompts(file, path, key, config)
    return int(file.metadata.num_rows)


def _check_columns(file: parquet.ParquetFile, path: Path, key: str, config: DictConfig) -> None:
    needed = [config.data.prompt_key, "data_source", "reward_model"]
    if not users_function(config):
        needed.append("ability")
    columns = file.schema_arrow.names
    for column in needed:
        if column not in columns:
            raise WrongUse(f"{key}: {path} lacks the column {column!r} (it has {', '.join(columns)}); add it")


def _check_abilities(file: parquet.ParquetFile, path: Path, key: str, abilities: Collection[str]) -> None:
    try:
        found = compute.unique(file.read(columns=["ability"]).column("ability")).to_pylist()
    except Exception as error:
        raise WrongUse(f"{key}: {path} cannot be read ({first_line(error)}); write it anew") from error
    for ability in found:
        if ability not in abilities:
            known = ", ".join(sorted(abilities)) or "none"
            raise WrongUse(
                f"{key}: {path} has rows of ability {ability!r}, which no reward source judges (known: {known}); "
                "correct the column, install a plugin that judges them, or name them in pangu.rewards.sources"
            )


def _check_prompts(file: parquet.ParquetFile, path: Path, key: str, config: DictConfig) -> None:
    if config.data.filter_overlong_prompts or config.data.truncation != "error":
        return
    model = config.actor_rollout_ref.model
    name = str(model.tokenizer_path or model.path)
    if "://" in name:
        return
    tokenizer = _tokenizer(name, model)
    options = {**config.data.apply_chat_template_kwargs, "add_generation_prompt": True, "return_dict": True}
    limit = whole_number(config, "data.max_prompt_length")
    try:
        batch = next(file.iter_batches(batch_size=_TOKENIZED_ROWS, columns=[config.data.prompt_key]))
    except Exception as error:
        raise WrongUse(f"{key}: {path} cannot be read ({first_line(error)}); write it anew") from error
    for row, prompt in enumerate(batch.column(0).to_pylist()):
        try:
            tokens = len(tokenizer.apply_chat_template(prompt, **options)["input_ids"])
        except Exception as error:
            raise WrongUse(
                f"{key}: {path} row {row}: the prompt does not fit the chat template ({first_line(error)}); "
                "a prompt is a list of messages with role and content"
            ) from error
        if tokens > limit:
            raise WrongUse(
                f"{key}: {path} row {row}: the prompt has {tokens} tokens, the limit is {limit}; raise "
                "data.max_prompt_length or set data.filter_overlong_prompts=true"
            )


def _tokenizer(name: str, model: Any) -> Any:
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(
            str(Path(name).expanduser()) if name.startswith("~") else name,
            trust_remote_code=bool(model.trust_remote_code),
        )
    except Exception as error:
        raise WrongUse(
            f"actor_rollout_ref.model.path: {name} has no tokenizer that can be loaded ({first_line(error)}); "
            "name a Hugging Face model folder or a name on a model hub"
        ) from error
    if model.custom_chat_template:
        tokenizer.chat_template = model.custom_chat_template
    return tokenizer


def _check_enough_rows(rows: int | None, config: DictConfig) -> None:
    """verl drops the last, incomplete batch of an epoch."""
    batch = whole_number(config, "data.train_batch_size")
    is_sync = config.trainer.v1.trainer_mode == "sync" and not config.data.gen_batch_size
    if is_sync and rows is not None and rows < batch:
        raise WrongUse(
            f"data.train_files hold {rows} rows and a step takes data.train_batch_size={batch}; "
            "give more rows or a smaller batch"
        )
