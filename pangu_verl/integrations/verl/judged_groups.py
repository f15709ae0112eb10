"""DAPO's group filtering over judged members only, on a replay buffer of verl.

verl drops a finished group whose members all have the same reward, and a placeholder would count as one. Invariant:
the rule is verl's own, applied to the group without its unjudged members; a group without any judged member is kept,
has an advantage of zero in training and shows in ``rewards/groups_without_comparison``.
"""

from __future__ import annotations

from typing import Any

import transfer_queue as tq
from verl.trainer.ppo.v1.replay_buffer import ReplayBuffer

from pangu_verl.integrations.verl.trajectories import is_judged, rewards_of


def filter_by_judged(buffer: Any) -> Any:
    """Make ``buffer`` filter by judged members, if it is one of verl's that filters at all; returns it."""
    if isinstance(buffer, ReplayBuffer) and buffer.filter_groups_metric is not None:
        by_verl = buffer._dapo_filtered_keys

        def filtered_keys(partition_id: str) -> Any:
            return by_verl(partition_id) if partition_id == "val" else _filtered(buffer, partition_id, by_verl)

        buffer._dapo_filtered_keys = filtered_keys
    return buffer


def _filtered(buffer: Any, partition_id: str, by_verl: Any) -> Any:
    """What verl filters when it does not see the unjudged members."""
    whole = buffer.partitions[partition_id]
    known = buffer._dapo_classification_cache[partition_id]
    unknown = buffer.finished_keys[partition_id] - known.keys()
    members = [key for key in whole if _group(key) in unknown]
    unjudged = _unjudged(members, partition_id)
    for group in {_group(key) for key in unjudged} - {_group(key) for key in members if key not in unjudged}:
        known[group] = None  # verl's word for a group that is not filtered; it would refuse one without members
    buffer.partitions[partition_id] = {key: tag for key, tag in whole.items() if key not in unjudged}
    try:
        return by_verl(partition_id)
    finally:
        buffer.partitions[partition_id] = whole


def _unjudged(keys: list[str], partition_id: str) -> set[str]:
    if not keys:
        return set()
    found = tq.kv_batch_get(keys=keys, partition_id=partition_id, select_fields=["extra_fields"])
    rewards = rewards_of(found, len(keys))
    return {key for key, reward in zip(keys, rewards, strict=True) if not is_judged(reward)}


def _group(key: str) -> str:
    return key.split("_")[0]
