"""What a soak is asked to do, and the run that follows from it: trace, cluster, settings and priority.

Invariant: the order alone decides the run up to the faults, so that every life of the worker, and the auditor, read
the same. It is written once, when the soak begins.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path

from pangu_verl.errors import RunFailed, WrongUse
from pangu_verl.queue.ledger_store import Durability
from pangu_verl.queue.priority import Priority
from pangu_verl.queue.terms.built_in import built_in_terms
from pangu_verl.scheduler.policies import Drop, Mask, Wait
from pangu_verl.scheduler.settings import SchedulerSettings
from pangu_verl.simulate.cluster import DECODE_TOKENS_PER_S, Cluster
from pangu_verl.simulate.engine import Plan
from pangu_verl.simulate.scenario import Scenario
from pangu_verl.simulate.traces import MEAN_TOKENS, TOTAL_SIGMA, LogNormalTrace, Task, Trace
from pangu_verl.types import StalenessPolicy

POLICIES: dict[str, StalenessPolicy] = {policy.name: policy for policy in (Wait(), Drop(), Mask())}
#: A soak is about order and loss, not about speed: these are chosen so that every path is taken often.
TRACE = "mid"
TASKS = (Task(name="maths", share=0.7), Task(name="code", share=0.3, length_level=1.5))
ESTIMATE_SIGMA = 0.5
SLOTS_PER_DEVICE = 4
TRAIN_TO_ROLLOUT_RATIO = 0.5
STEPS_BETWEEN_FAILURES = 3.0
WAVE_BATCHES = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class SoakOrder:
    """``samples`` trajectories through the scheduler and a ledger on disk, whose process is killed ``kills`` times.

    A checkpoint is made every ``steps_per_checkpoint`` training steps. What follows ``durability`` is the size of the
    run, whose defaults are the design's.
    """

    samples: int
    kills: int
    policy: str
    bound_versions: int
    seed: int
    durability: Durability = Durability.NORMAL
    batch_groups: int = 64
    trajectories: int = 8
    steps_per_version: int = 1
    steps_per_checkpoint: int = 5

    def __post_init__(self) -> None:
        if self.policy not in POLICIES:
            raise WrongUse(f"a soak runs our own policies ({', '.join(POLICIES)}), not {self.policy!r}; name one")
        for name, least in (("samples", 1), ("kills", 0), ("bound_versions", 0), ("seed", 0)):
            if getattr(self, name) < least:
                raise WrongUse(f"a soak's {name} is at least {least}, not {getattr(self, name)}")
        for name in ("batch_groups", "trajectories", "steps_per_version", "steps_per_checkpoint"):
            if getattr(self, name) < 1:
                raise WrongUse(f"a soak's {name} is at least 1, not {getattr(self, name)}")

    @property
    def step_samples(self) -> int:
        return self.batch_groups * self.trajectories

    @property
    def steps(self) -> int:
        """Training steps in all: the last one is whole as well."""
        return math.ceil(self.samples / self.step_samples)

    @property
    def run_id(self) -> str:
        return f"soak-{self.policy}-{self.bound_versions}-{self.seed}"

    def settings(self) -> SchedulerSettings:
        return SchedulerSettings(
            batch_groups=self.batch_groups,
            bound_versions=self.bound_versions,
            steps_per_version=self.steps_per_version,
            wave_groups=WAVE_BATCHES * self.batch_groups,
            task_shares={task.name: task.share for task in TASKS},
        )

    def priority(self) -> Priority:
        """Every term of ours at once: the soak wants groups to pass one another."""
        terms = built_in_terms()
        return Priority(terms, {term.name: 1.0 for term in terms})

    def trace(self) -> LogNormalTrace:
        return LogNormalTrace(
            name=TRACE,
            total_sigma=TOTAL_SIGMA[TRACE],
            seed=self.seed,
            num_prompts=self.steps * self.batch_groups,
            trajectories=self.trajectories,
            tasks=TASKS,
            estimate_sigma=ESTIMATE_SIGMA,
        )

    def plan(self, trace: Trace, steps: int, life: int) -> Plan:
        """``steps`` steps of this run as life number ``life`` plays them; each life meets its own lost servers."""
        scenario = Scenario(
            trace=trace,
            cluster=self._cluster(),
            steps=steps,
            batch_groups=self.batch_groups,
            steps_per_version=self.steps_per_version,
            seed=self.seed + life,
        )
        return scenario.plan()

    def _cluster(self) -> Cluster:
        """As many slots as a step has trajectories; one server is lost every ``STEPS_BETWEEN_FAILURES`` steps or so."""
        devices = max(4, self.step_samples // SLOTS_PER_DEVICE)
        step_s = MEAN_TOKENS / DECODE_TOKENS_PER_S * (1.0 + TRAIN_TO_ROLLOUT_RATIO)
        return Cluster(
            devices=devices,
            slots_per_device=SLOTS_PER_DEVICE,
            train_tokens_per_s=DECODE_TOKENS_PER_S * SLOTS_PER_DEVICE / TRAIN_TO_ROLLOUT_RATIO,
            publication_s=0.02 * step_s,
            mean_time_between_failures_s=STEPS_BETWEEN_FAILURES * devices * step_s,
            restart_s=step_s,
        )

    def write(self, path: Path) -> None:
        """Whole or not at all."""
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(asdict(self), indent=2) + "\n")
        partial.replace(path)


def read_order(path: Path) -> SoakOrder:
    """Raises ``WrongUse`` where no soak was begun, ``RunFailed`` for a damaged order."""
    try:
        found = json.loads(path.read_text())
        return SoakOrder(**{**found, "durability": Durability(found["durability"])})
    except FileNotFoundError:
        raise WrongUse(f"{path.parent} holds no soak to go on with; begin one without resume") from None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise RunFailed(f"the soak's order {path} cannot be read ({error}); begin in another folder") from None
