"""verl's checkpoint callback: adds the counts of rewards to the checkpoint and tells the plugins of it.

Runs in the task runner's process. Invariant: the plugins are told last, of a folder that is whole.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from verl.trainer.ppo.checkpoint_callback import CheckpointCallback

from pangu_verl.integrations.verl.shared_state import save_state
from pangu_verl.plugins import load_plugins


class CheckpointEvents(CheckpointCallback):
    """Calls the hook ``on_checkpoint_saved`` of every plugin; what a plugin raises ends the run by its name."""

    def __init__(self, config: Any = None) -> None:
        super().__init__(config)
        self._plugins = load_plugins()
        self._plugins.require()

    def on_save(self, trainer: Any, global_step: int, checkpoint_dir: str, async_save: bool = False, **_: Any) -> None:
        """verl's event; the folder is on the file system of this process."""
        folder = Path(checkpoint_dir).resolve()
        save_state(folder)
        self._plugins.notify("on_checkpoint_saved", folder=folder, step=global_step, is_durable=not async_save)
