"""Looks at what a run was given before anything starts: model, data, reward, ports.

Invariant: every complaint is one line that names the thing, what was expected, what came and what to do. What lies
behind an address ("hdfs://...") or is read by the user's own dataset class is left to verl.
"""

from __future__ import annotations

import importlib
import json
import socket
from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet
from omegaconf import DictConfig, OmegaConf

from pangu_verl.errors import WrongUse, first_line
from pangu_verl.integrations.verl.configuration import whole_number

#: Prompts are tokenized up to this many rows per file; a run stops by itself at a longer one further down.
_TOKENIZED_ROWS = 20_000
_HIGHEST_PORT = 65_535


def check(config: DictConfig) -> None:
    """Raise ``WrongUse`` for the first thing that cannot work."""
    _check_model(config.actor_rollout_ref.model)
    _check_mode(config)
    _check_backend(config)
    if not config.data.custom_cls.path:
        rows = {key: _check_files(f"data.{key}", config) for key in ("train_files", "val_files")}
        _check_enough_rows(rows["train_files"], config)
    _check_reward(config.reward.custom_reward_function)
    _check_ports(config)
    _check_batches(config)


def _check_model(model: Any) -> None:
    key, name = "actor_rollout_ref.model.path", str(model.path or "")
    if not name:
        raise WrongUse(f"{key} is not set; name a Hugging Face model folder")
    if "://" in name:
        return
    path = Path(name).expanduser()
    looks_local = path.is_absolute() or name.startswith((".", "~")) or name.count("/") != 1
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise WrongUse(f"{key}: {path} has no config.json; name a Hugging Face model folder")
        try:
            sound = isinstance(json.loads((path / "config.json").read_bytes()), dict)
        except ValueError:
            sound = False
        if not sound:
            raise WrongUse(f"{key}: {path / 'config.json'} holds no JSON object; fetch the model anew")
    elif path.exists() or looks_local:
        raise WrongUse(f"{key}: there is no model folder {name}; check the path")


def _check_mode(config: DictConfig) -> None:
    separate = config.trainer.v1.trainer_mode == "separate_async"
    if separate and not config.actor_rollout_ref.hybrid_engine:
        raise WrongUse(
            "actor_rollout_ref.hybrid_engine=false does not start in trainer_mode separate_async of verl 0.9.1 "
            "(it logs with an unknown argument); leave hybrid_engine=true"
        )


def _check_backend(config: DictConfig) -> None:
    """Ask the backend's own module, which the configuration names, what it cannot do."""
    library = config.actor_rollout_ref.model.external_lib
    if not isinstance(library, str):
        return
    try:
        module = importlib.import_module(library)
    except Exception as error:
        raise WrongUse(
            f"actor_rollout_ref.model.external_lib={library} cannot be imported: {type(error).__name__}: "
            f"{first_line(error)}; install it or correct the name"
        ) from error
    if (refuse := getattr(module, "refuse_configuration", None)) is not None:
        try:
            refuse(config)
        except (OSError, ValueError) as error:
            raise WrongUse(first_line(error)) from error


def _check_files(key: str, config: DictConfig) -> int | None:
    """Check every file of ``key``; returns how many rows they hold, None where that cannot be seen here."""
    files = OmegaConf.select(config, key)
    names = [str(name) for name in ([files] if isinstance(files, str) else files or []) if name]
    if not names:
        raise WrongUse(f"{key} is not set; name a parquet file, for example {key}=path/to/rows.parquet")
    counts = [_check_file(name, key, config) for name in names]
    return None if None in counts else sum(count or 0 for count in counts)


def _check_file(name: str, key: str, config: DictConfig) -> int | None:
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
    _check_prompts(file, path, key, config)
    return int(file.metadata.num_rows)


def _check_columns(file: parquet.ParquetFile, path: Path, key: str, config: DictConfig) -> None:
    needed = [config.data.prompt_key, "data_source", "reward_model"]
    if not config.reward.custom_reward_function.path:
        needed.append("ability")
    columns = file.schema_arrow.names
    for column in needed:
        if column not in columns:
            raise WrongUse(f"{key}: {path} lacks the column {column!r} (it has {', '.join(columns)}); add it")


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


def _check_reward(custom: Any) -> None:
    if not custom.path:
        return
    from verl.utils.import_utils import load_extern_object

    name = f"reward.custom_reward_function {custom.path}:{custom.name}"
    try:
        function = load_extern_object(custom.path, custom.name)
    except (Exception, SystemExit) as error:
        cause = error.__cause__ or error
        raise WrongUse(
            f"{name} cannot be imported: {type(cause).__name__}: {first_line(cause)}; correct the file or the name"
        ) from error
    if not callable(function):
        raise WrongUse(f"{name} is a {type(function).__name__}, expected a function; name one of that file")


def _check_ports(config: DictConfig) -> None:
    port_by_switch = {
        "ray_kwargs.ray_init.include_dashboard": "ray_kwargs.ray_init.dashboard_port",
        "actor_rollout_ref.rollout.prometheus.enable": "actor_rollout_ref.rollout.prometheus.port",
    }
    for switch, key in port_by_switch.items():
        if not OmegaConf.select(config, switch) or OmegaConf.select(config, key) is None:
            continue
        port = whole_number(config, key)
        if port > _HIGHEST_PORT:
            raise WrongUse(f"{key}: there is no port {port}; name one of 1 to {_HIGHEST_PORT}")
        if not _is_free(port):
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
    actor = config.actor_rollout_ref.actor
    prompts = whole_number(config, "data.train_batch_size")
    mini_prompts = whole_number(config, "actor_rollout_ref.actor.ppo_mini_batch_size")
    answers = whole_number(config, "actor_rollout_ref.rollout.n")
    workers = _data_parallel_size(config)
    for key, count in (("data.train_batch_size", prompts), ("actor.ppo_mini_batch_size", mini_prompts)):
        if count * answers % workers:
            raise WrongUse(
                f"{key} x rollout.n = {count} x {answers} = {count * answers} trajectories do not divide among "
                f"{workers} trainer workers; change one of them"
            )
    mini_batch = mini_prompts * answers // workers
    if actor.use_dynamic_bsz or not actor.ppo_micro_batch_size_per_gpu:
        return
    micro_batch = whole_number(config, "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu")
    if mini_batch % micro_batch:
        raise WrongUse(
            f"actor.ppo_micro_batch_size_per_gpu={micro_batch} does not divide a worker's mini-batch of "
            f"{mini_prompts} prompts x {answers} / {workers} workers = {mini_batch} trajectories; choose a divisor"
        )


def _data_parallel_size(config: DictConfig) -> int:
    """How many groups of trainer workers see different trajectories."""
    actor = config.actor_rollout_ref.actor
    workers = whole_number(config, "trainer.n_gpus_per_node") * whole_number(config, "trainer.nnodes")
    if actor.strategy == "megatron":
        sizes = actor.megatron
        group = sizes.tensor_model_parallel_size * sizes.pipeline_model_parallel_size * sizes.context_parallel_size
    else:
        group = actor.get("ulysses_sequence_parallel_size", 1)
    if workers % group:
        raise WrongUse(
            f"actor_rollout_ref.actor shares a trajectory among {group} workers (its parallel sizes), and {workers} "
            "workers do not divide into such groups; change the sizes or trainer.n_gpus_per_node x trainer.nnodes"
        )
    return int(workers // group)
