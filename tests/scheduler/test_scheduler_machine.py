"""Whatever the order of the verbs, the scheduler keeps to its bound and loses nothing."""

from __future__ import annotations

from hypothesis import settings
from scheduler_machine import SchedulerMachine

TestScheduler = SchedulerMachine.TestCase
TestScheduler.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)
