"""What the loss of a step sees of the age of its tokens: weights, the gap to the rollout, gauges.

Comes between our trainers and verl's. Invariant: verl computes log-probabilities, corrections and advantages; what is
written here is the product of an advantage and its weight, after verl's own. Masks are the buffer's.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from verl.trainer.ppo.v1.trainer_base import PPOTrainer

from pangu_verl.integrations.verl.scheduling.gauges import Gauges
from pangu_verl.integrations.verl.scheduling.loss.log_prob_gap import GapAlarm, gap_metrics, read_gaps
from pangu_verl.integrations.verl.scheduling.loss.token_lags import TokenLags, has_trained_token, token_lags
from pangu_verl.integrations.verl.scheduling.loss.weighting import weigh
from pangu_verl.integrations.verl.scheduling.settings import Scheduling


class AgedLoss(PPOTrainer):
    """``_set_up_loss`` is called once, before the first step."""

    def _set_up_loss(self, scheduling: Scheduling) -> None:
        self._weight = scheduling.staleness_weight
        self._alarm = GapAlarm(scheduling.log_prob_gap_alarm)
        self._gauges = Gauges()
        self._lags: TokenLags = {}
        self._recomputes = not self.config.algorithm.rollout_correction.bypass_mode
        self._knows_gap = self._recomputes and bool(self.config.actor_rollout_ref.rollout.calculate_log_probs)

    def on_sample_end(self) -> None:
        super().on_sample_end()
        if self._weight < 1.0 or self._recomputes:
            self._lags = token_lags(self.replay_buffer.delivery)

    def _compute_old_log_prob(self, batch: Any, metrics: dict[str, Any]) -> Any:
        batch = super()._compute_old_log_prob(batch, metrics)
        if self._knows_gap:
            self._report_gap(batch, metrics)
        return batch

    def _report_gap(self, batch: Any, metrics: dict[str, Any]) -> None:
        gaps = read_gaps(batch, self._lags)
        metrics.update(gap_metrics(gaps))
        self._alarm.check(gaps, self.replay_buffer.delivery.batch.version)

    def _compute_advantage(self, batch: Any, metrics: dict[str, Any]) -> Any:
        with self._correction_where_it_can(batch):
            batch = super()._compute_advantage(batch, metrics)
        if self._weight < 1.0:
            metrics.update(weigh(batch, self._lags, self._weight))
        return batch

    @contextmanager
    def _correction_where_it_can(self, batch: Any) -> Iterator[None]:
        """verl's correction ends the run at rows without a single token in the loss; such a step is skipped anyway."""
        correction = self.config.algorithm.rollout_correction
        is_empty = self._recomputes and not has_trained_token(self._lags, batch.keys)
        if is_empty:
            correction.bypass_mode = True
        try:
            yield
        finally:
            if is_empty:
                correction.bypass_mode = False

    def _compute_metrics(self, batch: Any, metrics: dict[str, Any], *args: Any, **kwargs: Any) -> None:
        super()._compute_metrics(batch, metrics, *args, **kwargs)
        self._gauges.set(metrics)
