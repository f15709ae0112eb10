"""``pangu-verl train``: one composed configuration, one run folder, verl's trainer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pangu_verl.errors import PanguError
from pangu_verl.runs import Run


def run(folder: Path, config_name: str, overrides: Sequence[str], *, resume: bool) -> None:
    """Compose ``config_name`` with ``overrides`` and train; raises ``PanguError`` for what went wrong."""
    from pangu_verl.integrations.verl import configuration, launch

    config = configuration.compose(config_name, overrides)
    record = Run(folder, name=config_name, resume=resume, facts={"model": str(config.actor_rollout_ref.model.path)})
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
