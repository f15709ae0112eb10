"""Our terms of the priority, all project defaults: the paper names prioritised queues and gives no key.

Invariant: every score lies in -1..1 whatever the columns hold, and is 0 where a group's columns do not say what the
term needs. Which terms have an effect is measured in ``benchmarks/systems``; weights are the configuration's.
"""

from __future__ import annotations

import numpy as np

from pangu_verl.queue.terms.candidates import Candidates, FloatColumn, IntColumn
from pangu_verl.types import PriorityTerm


class DeadlineSlack:
    """Groups whose oldest token soon leaves the bound come first.

    Slack = started version + bound - version: how many more versions the whole group may be trained on. The score is
    1 / (1 + slack), so it is earliest deadline first whatever the bounds of the tasks; 1 from slack 0 downwards. A
    group that waits has no token and no deadline: 0.
    """

    name = "deadline_slack"

    def score(self, candidates: Candidates) -> FloatColumn:
        slack = candidates.started_versions + candidates.bounds_versions - candidates.version
        urgency = 1.0 / (1.0 + np.maximum(slack, 0))
        return np.where(candidates.started_versions < 0, 0.0, urgency)


class TaskShareDeficit:
    """Tasks that have had less than their target share come first, group by group.

    Stride scheduling (Waldspurger and Weihl 1995): the k-th oldest candidate of a task (k from 0) stands at the level
    (taken groups + k) / target share, and the lowest level comes first. So a choice of many groups is spread over the
    tasks in proportion, where one score for a whole task would fill the choice with a single one. With F the level
    that all tasks reach once every candidate is taken, the score is (F - level) / max(F, level): 1 for what is far
    behind, 0 in balance, near -1 for what is far ahead; -1 for a target of 0; 0 for a task without a target.
    """

    name = "task_share_deficit"

    def score(self, candidates: Candidates) -> FloatColumn:
        has_target = ~np.isnan(candidates.target_shares)
        total = float(candidates.target_shares[has_target].sum())
        if not total > 0.0:
            return np.zeros(len(candidates))
        share = candidates.target_shares[candidates.tasks] / total
        is_meant = has_target[candidates.tasks]
        full = float(candidates.taken_groups[has_target].sum()) + float(is_meant.sum())
        taken = candidates.taken_groups[candidates.tasks] + _places_in_task(candidates)
        # (F - taken / share) / max(F, taken / share), without the division by a share that may be 0.
        difference, larger = full * share - taken, np.maximum(full * share, taken)
        score = np.divide(difference, larger, out=np.zeros(len(candidates)), where=larger > 0.0)
        return np.where(is_meant, np.where(share > 0.0, score, -1.0), 0.0)


class ExpectedLength:
    """Groups that are expected to take long start first; a negative weight lets short ones start first.

    The score is (tokens - median) / (tokens + median) over the candidates: 0 at the median, a third at twice it. At
    "select" it is 0: a ready group's tokens are there, and how many had been expected says nothing more.
    """

    name = "expected_length"

    def score(self, candidates: Candidates) -> FloatColumn:
        tokens = candidates.expected_tokens
        known = np.isfinite(tokens) & (tokens > 0.0)
        if candidates.point == "select" or not known.any():
            return np.zeros(len(candidates))
        median = np.median(tokens[known])
        tokens = np.where(known, tokens, median)
        # As a ratio, since a sum of two very large numbers would be an infinity.
        ratio = np.minimum(tokens, median) / np.maximum(tokens, median)
        return np.sign(tokens - median) * (1.0 - ratio) / (1.0 + ratio)


class Informativeness:
    """Prompts that are neither always nor never solved come first: p (1 - p) is the variance of a binary reward.

    The score is 6 p (1 - p) - 1: 0.5 at p = 1/2, -1 at 0 and 1. An unknown rate is taken to be uniform on 0..1, under
    which the mean of the score is 0, so an unknown prompt stands between the two.
    """

    name = "informativeness"

    def score(self, candidates: Candidates) -> FloatColumn:
        rate = np.clip(candidates.pass_rates, 0.0, 1.0)
        return np.where(np.isnan(rate), 0.0, 6.0 * rate * (1.0 - rate) - 1.0)


class Age:
    """Groups that were admitted long ago come first.

    Age = version - admitted version. The score is age / (age + s + 1): a half at s + 1 versions, the age to which a
    window of one batch keeps a group (``priority.anchored``).
    """

    name = "age"

    def score(self, candidates: Candidates) -> FloatColumn:
        age = np.maximum(candidates.version - candidates.admitted_versions, 0)
        score: FloatColumn = age / (age + candidates.bounds_versions + 1.0)
        return score


def built_in_terms() -> tuple[PriorityTerm, ...]:
    """Ours, in the order in which they are added up."""
    return (DeadlineSlack(), TaskShareDeficit(), ExpectedLength(), Informativeness(), Age())


def _places_in_task(candidates: Candidates) -> IntColumn:
    """How many older candidates of the same task there are, by candidate."""
    by_task = np.lexsort((candidates.orders, candidates.tasks))
    tasks = candidates.tasks[by_task]
    places = np.empty(len(candidates), dtype=np.int64)
    places[by_task] = np.arange(len(candidates)) - np.searchsorted(tasks, tasks)
    return places
