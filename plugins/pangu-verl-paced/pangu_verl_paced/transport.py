"""A publication that takes its time and moves no bytes: verl's ``CheckpointEngine``, named ``pangu_paced``.

The trainer's end sleeps as long as the played cluster takes (``cluster.publication_s``). The other ends are the
servers' handles, which answer for themselves (``server``).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from verl.checkpoint_engine import CheckpointEngine, CheckpointEngineRegistry

from pangu_verl_paced.pacing import pacing


async def publication() -> None:
    """Let the time of one publication pass."""
    now = pacing()
    await asyncio.sleep(now.wall_s(now.cluster.publication_s))


@CheckpointEngineRegistry.register("pangu_paced")
class PacedTransport(CheckpointEngine):
    """The trainer's end."""

    def __init__(self, bucket_size: int, is_master: bool = False) -> None:
        self._is_master = is_master

    def prepare(self) -> dict[str, Any]:
        return {}

    @classmethod
    def build_topology(
        cls, actor_wg_world_size: int, rollout_world_size: int, metadata: list[dict[str, Any]]
    ) -> tuple[dict[str, list[Any]], dict[str, list[Any]]]:
        return {}, {}

    def init_process_group(self) -> None:
        return None

    def finalize(self) -> None:
        return None

    async def send_weights(self, weights: Any, global_steps: int | None = None) -> dict[str, float]:
        await publication()
        return {}

    def receive_weights(self, global_steps: int | None = None) -> AsyncIterator[Any]:
        raise NotImplementedError("servers of pangu_paced receive no weights")
