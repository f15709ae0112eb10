"""Any order of the scheduler's verbs, with hostile answers among them, as a state machine over a ``World``."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from scheduler_made import PRIORITIES, TASKS, made_settings, policies, prompt, trajectory
from scheduler_world import Known, World

from pangu_verl.queue.entries import LIVE_STATES, State, Trajectory
from pangu_verl.queue.ledger import Ledger
from pangu_verl.scheduler.settings import SchedulerSettings
from pangu_verl.types import StalenessPolicy


class SchedulerMachine(RuleBasedStateMachine):
    """In memory; ``new_ledger`` gives those that record one."""

    world: World

    def __init__(self) -> None:
        super().__init__()
        self.num_keys = 0

    def new_ledger(self) -> Ledger | None:
        return None

    @initialize(settings=made_settings(), policy=policies, priority=st.sampled_from(sorted(PRIORITIES)))
    def start(self, settings: SchedulerSettings, policy: StalenessPolicy, priority: str) -> None:
        self.world = World(settings, policy, PRIORITIES[priority](), self.new_ledger())

    @rule(
        prompts=st.lists(st.tuples(st.sampled_from(TASKS), st.none() | st.integers(1, 9)), min_size=1, max_size=8),
        trajectories=st.integers(1, 2),
    )
    def admit(self, prompts: list[tuple[str, int | None]], trajectories: int) -> None:
        first, self.num_keys = self.num_keys, self.num_keys + len(prompts)
        self.world.admit(
            [
                prompt(f"k{first + place}", task, trajectories, expected_tokens)
                for place, (task, expected_tokens) in enumerate(prompts)
            ]
        )

    @rule(limit_groups=st.integers(-1, 12))
    def dispatch(self, limit_groups: int) -> None:
        self.world.dispatch(limit_groups)

    @precondition(lambda self: self.world.keys(State.RUNNING))
    @rule(data=st.data())
    def complete_one(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(self.world.keys(State.RUNNING)))
        known = self.world.known[key]
        missing = sorted(set(range(known.prompt.trajectories)) - set(known.finished))
        self.world.complete(key, data.draw(st.sampled_from(missing)), data.draw(self.answers(known)))

    def answers(self, known: Known) -> st.SearchStrategy[Trajectory]:
        """As a rollout stamps them: a segment's version is not before the group's start, and grows."""
        assert known.started is not None
        versions = st.sets(st.integers(known.started, self.world.version), min_size=1, max_size=4)
        return versions.flatmap(
            lambda found: st.lists(st.integers(1, 9), min_size=len(found), max_size=len(found)).map(
                lambda tokens: trajectory(*zip(sorted(found), tokens, strict=True))
            )
        )

    @precondition(lambda self: self.world.keys(State.RUNNING))
    @rule()
    def complete_all(self) -> None:
        self.world.complete_all()

    @precondition(lambda self: any(known.finished for known in self.world.known.values()))
    @rule(data=st.data())
    def answer_twice(self, data: st.DataObject) -> None:
        held = [key for key in self.world.keys(State.RUNNING, State.READY) if self.world.known[key].finished]
        if held:
            known = self.world.known[data.draw(st.sampled_from(held))]
            member = data.draw(st.sampled_from(sorted(known.finished)))
            other = self.world.spanning(known)
            assert not self.world.scheduler.complete(known.prompt.key, member, other, known.attempt)

    @precondition(lambda self: self.world.late_answers)
    @rule(data=st.data())
    def answer_late(self, data: st.DataObject) -> None:
        key, member, late, attempt = data.draw(st.sampled_from(self.world.late_answers))
        if self.world.ledger is not None or self.world.known[key].state in LIVE_STATES:
            assert not self.world.scheduler.complete(key, member, late, attempt)

    @rule()
    def evict(self) -> None:
        self.world.evict()

    @precondition(lambda self: self.world.keys(*LIVE_STATES))
    @rule(data=st.data())
    def lose_servers(self, data: st.DataObject) -> None:
        self.world.restart(data.draw(st.lists(st.sampled_from(self.world.keys(*LIVE_STATES)), max_size=4)))

    @precondition(lambda self: self.world.keys(*LIVE_STATES))
    @rule(data=st.data())
    def abandon(self, data: st.DataObject) -> None:
        self.world.abandon(data.draw(st.sampled_from(self.world.keys(*LIVE_STATES))))

    @rule()
    def take(self) -> None:
        self.world.evict()
        self.world.take()

    @precondition(lambda self: self.world.is_version_over or self.may_publish_early())
    @rule()
    def publish(self) -> None:
        self.world.publish()

    def may_publish_early(self) -> bool:
        return self.world.policy.masks_tokens and self.world.ledger is None

    @rule(bound_versions=st.integers(0, 4), more_groups=st.none() | st.integers(0, 6))
    def adjust(self, bound_versions: int, more_groups: int | None) -> None:
        batch_groups = self.world.settings.batch_groups
        self.world.adjust(bound_versions, None if more_groups is None else batch_groups + more_groups)

    @invariant()
    def all_is_where_it_should_be(self) -> None:
        if hasattr(self, "world"):
            self.world.check()

    def teardown(self) -> None:
        if hasattr(self, "world"):
            live = self.world.keys(*LIVE_STATES)
            self.world.train_until_consumed(live, 40 + 8 * len(live))
