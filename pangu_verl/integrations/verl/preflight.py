"""Looks at what a run was given before anything starts: model, data, reward, ports.

Invariant: every complaint is one line that names the thing, what was expected, what came and what to do.
"""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet
from omegaconf import DictConfig, OmegaConf

from pangu_verl.errors import WrongUse

#: Prompts are tokenized up to this many rows per file; a run stops by itself at a longer one further down.
_TOKENIZED_ROWS = 20_000


def check(config: DictConfig) -> None:
    """Raise ``WrongUse`` for the first thing that cannot work."""
    _check_model(config.actor_rollout_ref.model)
    for key in ("train_files", "val_files"):
        for path in _paths(config.data[key], f"data.{key}"):
            _check_rows(path, f"data.{key}", config)
    _check_reward(config.reward.custom_reward_function)
    _check_ports(config)
    _check_batches(config)


def _check_model(model: Any) -> None:
    path = Path(str(model.path)).expanduser()
    looks_local = path.is_absolute() or str(model.path).startswith((".", "~")) or str(model.path).count("/") != 1
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise WrongUse(f"actor_rollout_ref.model.path: {path} has no config.json; name a Hugging Face model folder")
    elif looks_local:
        raise WrongUse(f"actor_rollout_ref.model.path: there is no model folder {model.path}; check the path")


def _paths(value: Any, key: str) -> list[Path]:
    if not value:
        raise WrongUse(f"{key} is not set; name a parquet file, for example {key}=path/to/rows.parquet")
    values = [value] if isinstance(value, str) else list(value)
    return [Path(str(item)).expanduser() for item in values]


def _check_rows(path: Path, key: str, config: DictConfig) -> None:
    if not path.is_file():
        raise WrongUse(f"{key}: there is no file {path}; check the path")
    try:
        file = parquet.ParquetFile(path)
    except Exception as error:  # noqa: BLE001 - pyarrow raises several kinds for a file that is no parquet
        raise WrongUse(f"{key}: {path} is not a parquet file ({error})") from error
    if file.metadata.num_rows == 0:
        raise WrongUse(f"{key}: {path} has no rows; a run needs at least one")
    _check_columns(file, path, key, config)
    _check_prompt_lengths(file, path, key, config)


def _check_columns(file: parquet.ParquetFile, path: Path, key: str, config: DictConfig) -> None:
    needed = [config.data.prompt_key, "data_source", "reward_model"]
    if not config.reward.custom_reward_function.path:
        needed.append("ability")
    columns = file.schema_arrow.names
    for column in needed:
        if column not in columns:
            raise WrongUse(f"{key}: {path} lacks the column {column!r} (it has {', '.join(columns)})")


def _check_prompt_lengths(file: parquet.ParquetFile, path: Path, key: str, config: DictConfig) -> None:
    if config.data.filter_overlong_prompts or config.data.truncation != "error":
        return
    from transformers import AutoTokenizer

    model = config.actor_rollout_ref.model
    tokenizer = AutoTokenizer.from_pretrained(
        model.tokenizer_path or model.path, trust_remote_code=bool(model.trust_remote_code)
    )
    limit = int(config.data.max_prompt_length)
    batch = next(file.iter_batches(batch_size=_TOKENIZED_ROWS, columns=[config.data.prompt_key]))
    for row, prompt in enumerate(batch.column(0).to_pylist()):
        try:
            tokens = len(tokenizer.apply_chat_template(prompt, add_generation_prompt=True, return_dict=True)["input_ids"])
        except Exception as error:  # noqa: BLE001 - chat templates raise what they like
            raise WrongUse(f"{key}: {path} row {row}: the prompt does not fit the chat template ({error})") from error
        if tokens > limit:
            raise WrongUse(
                f"{key}: {path} row {row}: the prompt has {tokens} tokens, the limit is {limit}; raise "
                "data.max_prompt_length or set data.filter_overlong_prompts=true"
            )


def _check_reward(custom: Any) -> None:
    if not custom.path:
        return
    from verl.utils.import_utils import load_extern_object

    name = f"reward.custom_reward_function {custom.path}:{custom.name}"
    try:
        function = load_extern_object(custom.path, custom.name)
    except Exception as error:  # noqa: BLE001 - the user's module may raise anything
        raise WrongUse(f"{name} cannot be imported: {type(error).__name__}: {error}") from error
    if not callable(function):
        raise WrongUse(f"{name} is a {type(function).__name__}, expected a function")


def _check_ports(config: DictConfig) -> None:
    ray_init = config.ray_kwargs.get("ray_init") or {}
    wanted: list[tuple[str, Any]] = []
    if ray_init.get("include_dashboard"):
        wanted.append(("ray_kwargs.ray_init.dashboard_port", ray_init.get("dashboard_port")))
    prometheus = OmegaConf.select(config, "actor_rollout_ref.rollout.prometheus")
    if prometheus is not None and prometheus.enable:
        wanted.append(("actor_rollout_ref.rollout.prometheus.port", prometheus.port))
    for key, port in wanted:
        if port and not _is_free(int(port)):
            raise WrongUse(f"{key}: port {port} is in use; name another or end the program that holds it")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _check_batches(config: DictConfig) -> None:
    actor, rollout = config.actor_rollout_ref.actor, config.actor_rollout_ref.rollout
    workers = int(config.trainer.n_gpus_per_node) * int(config.trainer.nnodes)
    trajectories = int(config.data.train_batch_size) * int(rollout.n)
    if trajectories % workers:
        raise WrongUse(
            f"data.train_batch_size x rollout.n = {config.data.train_batch_size} x {rollout.n} = {trajectories} "
            f"trajectories do not divide among {workers} trainer workers"
        )
    mini_batch = int(actor.ppo_mini_batch_size) * int(rollout.n) // workers
    micro_batch = actor.ppo_micro_batch_size_per_gpu
    if micro_batch and not actor.use_dynamic_bsz and mini_batch % int(micro_batch):
        raise WrongUse(
            f"actor.ppo_micro_batch_size_per_gpu={micro_batch} does not divide a worker's mini-batch of "
            f"{actor.ppo_mini_batch_size} prompts x {rollout.n} / {workers} workers = {mini_batch} trajectories"
        )

