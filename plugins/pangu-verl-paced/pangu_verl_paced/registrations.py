"""Names the paced rollout and trainer to verl; imported through ``actor_rollout_ref.model.external_lib``.

Also scales the one wait that verl's client has built in: it lets a second pass before it sends an interrupted request
again, and a second is worth ``time_scale`` seconds in a paced run. The driver asks ``refuse_configuration`` before it
starts anything.
"""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from verl.workers.rollout import base, llm_server, replica

from pangu_verl_paced import training as training
from pangu_verl_paced import transport as transport
from pangu_verl_paced.pacing import pacing
from pangu_verl_paced.refusals import refuse_configuration as refuse_configuration

#: The value of ``actor_rollout_ref.rollout.name``.
ROLLOUT_NAME = "pangu_paced"


def _load_replica() -> type[replica.RolloutReplica]:
    from pangu_verl_paced.rollout import PacedServerReplica

    return PacedServerReplica


async def _scaled_sleep(delay_s: float) -> None:
    await asyncio.sleep(pacing().wall_s(delay_s))


def _scale_waits() -> None:
    """verl's client sees an ``asyncio`` whose ``sleep`` is in seconds of the played cluster."""
    scaled: Any = SimpleNamespace(**{name: getattr(asyncio, name) for name in asyncio.__all__})
    scaled.sleep = _scaled_sleep
    llm_server.asyncio = scaled


base._ROLLOUT_REGISTRY[(ROLLOUT_NAME, "async")] = "pangu_verl_paced.rollout.PacedServerAdapter"
replica.RolloutReplicaRegistry.register(ROLLOUT_NAME, _load_replica)
_scale_waits()
