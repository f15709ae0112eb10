"""verl's replay buffers with a short poll.

verl sleeps two seconds between looks at the queue and has no key for it, which costs an on-policy step a second or
more. Nothing else changes. (The event-driven buffer on our own queue comes with the scheduler.)
"""

from __future__ import annotations

from typing import Any

from verl.trainer.ppo.v1.replay_buffer import ReplayBuffer, ReplayBufferAsync

_POLL_INTERVAL_S = 0.05


def prompt_replay_buffer(*, trainer_mode: str, **kwargs: Any) -> ReplayBuffer:
    """verl's buffer for ``trainer_mode``; named in ``trainer.v1.sampler.custom_sampler``, called by verl's trainer."""
    buffer = ReplayBuffer if trainer_mode == "sync" else ReplayBufferAsync
    return buffer(trainer_mode=trainer_mode, poll_interval=_POLL_INTERVAL_S, **kwargs)
