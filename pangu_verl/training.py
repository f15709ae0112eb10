"""``pangu-verl train``: one composed configuration, and what is done with it: train, plan, explain."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pangu_verl.errors import PanguError
from pangu_verl.runs import Run


def run(folder: Path, config_name: str, overrides: Sequence[str], *, resume: bool) -> dict[str, Any]:
    """Compose ``config_name`` with ``overrides`` and train; returns what ``--json`` prints.

    Raises ``PanguError`` for what went wrong.
    """
    from pangu_verl.integrations.verl import configuration, launch

    config = configuration.compose(config_name, overrides)
    facts = {"model": str(config.actor_rollout_ref.model.path)}
    record = Run(folder, name=config_name, resume=resume, facts=facts)
    try:
        launch.place_in_run_folder(config, record)
        launch.train(config, record, quiet=False)
    except KeyboardInterrupt:
        record.update("interrupted")
        raise
    except PanguError as error:
        record.update("failed", failure=str(error))
        raise
    except Exception as error:
        record.update("failed", failure=f"{type(error).__name__}: {error}")
        raise
    record.update("finished")
    return {"run_dir": str(record.folder), "total_seconds": record.record["total_seconds"]}


def show_plan(config_name: str, overrides: Sequence[str], *, as_json: bool) -> None:
    """Print the resolved configuration and what a run of it would take; raises ``WrongUse`` for what cannot work."""
    from omegaconf import OmegaConf

    from pangu_verl.integrations.verl import configuration, plan, plan_text

    config = configuration.compose(config_name, overrides)
    found = plan.plan_of(config)
    if as_json:
        print(json.dumps({"plan": found.to_json(), "config": OmegaConf.to_container(config)}))
        return
    print(OmegaConf.to_yaml(config))
    print("\n".join(plan_text.lines_of(found)))


def explain(key: str, config_name: str, overrides: Sequence[str], *, as_json: bool) -> None:
    """Print what ``key`` means, its default, its unit and who reads it; raises ``WrongUse`` for an unknown key."""
    from pangu_verl.integrations.verl import explain

    explanation = explain.explain(key, config_name, overrides)
    print(json.dumps(asdict(explanation), default=str) if as_json else "\n".join(explanation.lines()))


def list_configurations(*, as_json: bool) -> None:
    """Print the names that ``--config`` and ``backend=`` take, each with what it is for."""
    from pangu_verl.integrations.verl import explain

    entries = explain.list_configurations()
    if as_json:
        print(json.dumps([asdict(entry) for entry in entries]))
        return
    width = max(len(entry.name) for entry in entries)
    for entry in entries:
        print(f"{entry.name:<{width}}  {entry.meaning}")
