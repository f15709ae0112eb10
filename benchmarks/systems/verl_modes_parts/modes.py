"""The trainer modes that are compared: verl's own and ours, at the same bound, and what each is told by override."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from . import BOUND_VERSIONS, WARM_UPS

#: Of verl's replay buffers; ours are told when something has ended.
SHORT_POLL_S, STOCK_POLL_S = 0.05, 2.0
_STOCK_POLL = (
    "trainer.v1.sampler.custom_sampler.path=null",
    "trainer.v1.sampler.custom_sampler.name=null",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Mode:
    """``simulated`` is who plays it in the simulator (None: nobody).

    Where servers and trainer take turns, all devices do both.
    """

    name: str
    side: str
    trainer_mode: str
    simulated: str | None
    takes_turns: bool
    overrides: tuple[str, ...] = ()
    warm_up_batches: float | None = None
    poll_s: float = SHORT_POLL_S

    @property
    def is_polled(self) -> bool:
        """Whether its trainer asks TransferQueue again and again, as verl's buffers do."""
        return self.side == "verl" and self.trainer_mode != FULLY_ASYNC.trainer_mode

    @property
    def family(self) -> str:
        """Of a sweep over warm-ups."""
        return self.name.split(", warm-up")[0]


def _verl(strategy: str, trainer_mode: str, warm_up_batches: float, poll_s: float = SHORT_POLL_S) -> Mode:
    """A mode of verl's with a warm-up, under its buffer's ``strategy``.

    verl counts a prompt's age from 1, in the step in which it was sent.
    """
    is_stock = poll_s == STOCK_POLL_S
    return Mode(
        name=f"{trainer_mode} {strategy}, warm-up {warm_up_batches:g}",
        side="verl",
        trainer_mode=trainer_mode,
        simulated=f"verl_{strategy}",
        takes_turns=trainer_mode == "colocate_async",
        overrides=(
            f"trainer.v1.sampler.max_off_policy_threshold={BOUND_VERSIONS + 1}",
            f"trainer.v1.sampler.max_off_policy_strategy={strategy}",
            f"trainer.v1.{trainer_mode}.num_warmup_batches={warm_up_batches:g}",
            *(_STOCK_POLL if is_stock else ()),
        ),
        warm_up_batches=warm_up_batches,
        poll_s=poll_s,
    )


def _ours(policy: str, trainer_mode: str) -> Mode:
    return Mode(
        name=f"{trainer_mode} {policy}",
        side="ours",
        trainer_mode=trainer_mode,
        simulated=policy,
        takes_turns=trainer_mode == "pangu_ssp_colocate",
        overrides=(f"pangu.scheduler.policy={policy}", f"pangu.scheduler.bound_versions={BOUND_VERSIONS}"),
    )


def _sync(poll_s: float = SHORT_POLL_S) -> Mode:
    return Mode(
        name="sync",
        side="verl",
        trainer_mode="sync",
        simulated="sync",
        takes_turns=True,
        overrides=_STOCK_POLL if poll_s == STOCK_POLL_S else (),
        poll_s=poll_s,
    )


#: verl's modes that have a warm-up to be swept, as strategy and trainer mode.
SWEPT = (("drop", "separate_async"), ("wait", "separate_async"), ("drop", "colocate_async"), ("wait", "colocate_async"))

OURS = (_ours("mask", "pangu_ssp"), _ours("wait", "pangu_ssp"), _ours("mask", "pangu_ssp_colocate"))

#: verl's older asynchronous trainer. Its bound is a budget of samples for each version, not an age:
#: ``staleness_threshold`` batches more than the one that is trained on. It has no replay buffer to poll.
FULLY_ASYNC = Mode(
    name="fully_async",
    side="verl",
    trainer_mode="fully_async",
    simulated=None,
    takes_turns=False,
    overrides=(
        f"async_training.staleness_threshold={BOUND_VERSIONS}",
        "async_training.trigger_parameter_sync_step=1",
        "async_training.require_batches=1",
    ),
)


def swept(warm_ups: Sequence[float] = WARM_UPS) -> list[Mode]:
    return [_verl(*family, warm_up) for family in SWEPT for warm_up in warm_ups]


def unswept() -> list[Mode]:
    """What has nothing to sweep."""
    return [_sync(), FULLY_ASYNC, *OURS]


def with_stock_poll(mode: Mode) -> Mode:
    """A mode of verl's as verl ships it."""
    if mode.warm_up_batches is None:
        return _sync(STOCK_POLL_S)
    strategy = str(mode.simulated).removeprefix("verl_")
    return _verl(strategy, mode.trainer_mode, mode.warm_up_batches, STOCK_POLL_S)
