"""Hydra reads some twenty files for each composition; tests that compose the same thing again need not wait for it."""

from __future__ import annotations

import copy
import functools
from collections.abc import Sequence

from omegaconf import DictConfig

from pangu_verl.integrations.verl import configuration

_composed = functools.cache(configuration._composed)


def composed(config_name: str, overrides: Sequence[str]) -> DictConfig:
    """Stands for ``configuration._composed``."""
    return copy.deepcopy(_composed(config_name, tuple(overrides)))
