"""Compute threads: a pool for the thread that claims it, one thread for every other. In a process of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

# How many threads torch uses, asked in one place after the other; each has computed before it answers. Two at first,
# where there are two cores.
PROGRAM = """
import json, threading, torch

def answer():
    torch.ones(100_000).exp().sum()
    return torch.get_num_threads()

def in_new_thread(before=lambda: None):
    answers = []
    thread = threading.Thread(target=lambda: (before(), answers.append(answer())))
    thread.start()
    thread.join()
    return answers[0]

def claim_after_computing():
    answer()
    threads.claim()

found = {"before": answer()}
from pangu_verl_cpu import threads
found["imported"] = answer()
threads.reserve()
found["reserved"] = answer()
found["new after reserve"] = in_new_thread()
found["claimed"] = in_new_thread(threads.claim)
found["reserved after a claim"] = answer()
found["new after a claim"] = in_new_thread()
found["claimed after computing"] = in_new_thread(claim_after_computing)
found["claimed again"] = in_new_thread(lambda: (threads.claim(), threads.claim()))
threads.claim()
found["claimed where reserved"] = answer()
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def found() -> dict[str, int]:
    environment = os.environ | {"OMP_NUM_THREADS": "2"}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def test_importing_changes_nothing(found: dict[str, int]) -> None:
    assert found["imported"] == found["before"]


def test_the_thread_that_reserves_keeps_a_single_one(found: dict[str, int]) -> None:
    assert found["reserved"] == 1


def test_threads_that_start_after_a_reservation_have_a_single_one(found: dict[str, int]) -> None:
    assert found["new after reserve"] == 1


@pytest.mark.parametrize("when", ["claimed", "claimed after computing", "claimed again", "claimed where reserved"])
def test_the_thread_that_claims_has_as_many_as_at_the_start(when: str, found: dict[str, int]) -> None:
    assert found[when] == found["before"]


def test_a_claim_leaves_the_thread_that_reserved_alone(found: dict[str, int]) -> None:
    assert found["reserved after a claim"] == 1


def test_a_claim_is_not_inherited_by_threads_that_start_later(found: dict[str, int]) -> None:
    """torch gives a new thread the number that was set last, in whichever thread."""
    assert found["new after a claim"] == 1
