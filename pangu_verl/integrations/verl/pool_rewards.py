"""What ``reward.custom_reward_function.path`` names where our sources judge beside verl's reward-model pool.

With a reward model and no function of the user's own, verl takes the model for a discriminative one, asks it itself and
calls no reward manager (verl 0.9.1, experimental/reward_loop/reward_loop.py:145). With this module named there, verl
calls the manager, which sees that no function of the user's own is meant.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

from omegaconf import DictConfig

from pangu_verl.errors import WrongUse
from pangu_verl.types import RewardSource

PATH = f"pkg://{__name__}"


def compute_score(**_: Any) -> NoReturn:
    """Reached under another reward manager alone. Raises ``WrongUse``."""
    raise WrongUse(
        f"reward.custom_reward_function.path={PATH} is for the reward manager PanguRewardManager; "
        "leave reward.reward_manager as it is, or name a function of your own"
    )


def users_function(config: DictConfig) -> str | None:
    """The path of the user's own reward function; None where our sources judge."""
    path = config.reward.custom_reward_function.path
    return None if not path or path == PATH else str(path)


def at_pool(sources: Mapping[str, RewardSource], address: str, model: str) -> dict[str, RewardSource]:
    """The sources, those that can ask verl's reward-model pool made anew with where it is: ``host:port`` and model.

    What a source's own ``with_endpoint(address, model)`` returns takes its place. Raises what that raises.
    """
    return {
        name: source.with_endpoint(address, model) if hasattr(source, "with_endpoint") else source
        for name, source in sources.items()
    }
