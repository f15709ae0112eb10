"""What a paced run is told: the cluster that it plays, how long answers are, and how much faster time runs.

One YAML file, named by the environment variable ``PANGU_VERL_PACED``, which pangu_verl hands on to all processes of a
run; the simulator takes the same cluster and trace. Invariant: times and rates in it are those of the cluster that is
played; only ``wall_s`` and ``played_s`` convert.
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Annotated

import yaml  # type: ignore[import-untyped]
from pydantic import BaseModel, ConfigDict, Field

from pangu_verl.errors import WrongUse
from pangu_verl.simulate.checking import checked
from pangu_verl.simulate.cluster import Cluster
from pangu_verl.simulate.traces import CAP_MEANS, TOTAL_SIGMA, LogNormalTrace

VARIABLE = "PANGU_VERL_PACED"
NOTICE = "compute is paced: servers and trainer sleep by a recorded rate curve and compute nothing"


class Lengths(BaseModel):
    """Log-normal answers: ``trace`` is mild, mid or heavy, ``mean_tokens`` the mean before the cap of 8 means."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    trace: str
    mean_tokens: Annotated[int, Field(ge=1)]
    seed: Annotated[int, Field(ge=0)] = 0


class Pacing(BaseModel):
    """``trainer_devices`` of the cluster's devices train. ``time_scale`` seconds are played in one of the wall's.

    ``rates_from`` says where the cluster's rates come from. ``journal`` is the file of what was trained on.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    cluster: Cluster
    lengths: Lengths
    trainer_devices: Annotated[int, Field(ge=1)]
    time_scale: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    rates_from: Annotated[str, Field(min_length=1)]
    journal: Path | None = None

    def wall_s(self, played_s: float) -> float:
        return played_s / self.time_scale

    def played_s(self, wall_s: float) -> float:
        return wall_s * self.time_scale

    @property
    def train_s(self) -> float:
        """Of one token, on the trainer's devices together."""
        return 1 / (self.cluster.train_tokens_per_s * self.trainer_devices)

    @property
    def longest_tokens(self) -> int:
        """No answer has more."""
        return round(CAP_MEANS * self.lengths.mean_tokens)

    def trace(self, trajectories: int, num_prompts: int = 1) -> LogNormalTrace:
        """The lengths of the answers to a prompt, ``trajectories`` an attempt; prompts go by their number."""
        return LogNormalTrace(
            name=self.lengths.trace,
            total_sigma=TOTAL_SIGMA[self.lengths.trace],
            seed=self.lengths.seed,
            num_prompts=num_prompts,
            trajectories=trajectories,
            uncapped_mean_tokens=self.lengths.mean_tokens,
        )


def pacing() -> Pacing:
    """Of this process. Raises ``WrongUse`` that names variable, file and field."""
    name = os.environ.get(VARIABLE)
    if not name:
        raise WrongUse(f"{VARIABLE} is not set; let it name the YAML file that describes the paced cluster")
    return read_pacing(Path(name))


@lru_cache(maxsize=4)
def read_pacing(path: Path) -> Pacing:
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise WrongUse(
            f"{path}: expected a YAML file that describes a paced run: {' '.join(str(error).split())}"
        ) from error
    pacing = checked(Pacing, found, str(path))
    if pacing.lengths.trace not in TOTAL_SIGMA:
        raise WrongUse(f"{path}: lengths.trace={pacing.lengths.trace!r} is unknown; take {', '.join(TOTAL_SIGMA)}")
    if pacing.trainer_devices > pacing.cluster.devices:
        raise WrongUse(
            f"{path}: trainer_devices={pacing.trainer_devices} are more than the cluster's {pacing.cluster.devices} "
            "devices; correct one of them"
        )
    return pacing
