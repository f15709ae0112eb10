"""Verdicts on code: stdin and assert tests that really run, attacks on them, and servers that fail."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from pangu_verl.types import RewardRow, RewardSource, Verdict

pytest.importorskip("tenacity", reason="the client of SandboxFusion needs tenacity: pip install tenacity")

DOUBLE = "print(2 * int(input()))"
ADD = "def add(a, b):\n    return a + b"


def stdin(given: str, expected: str) -> dict[str, str]:
    return {"kind": "stdin", "input": given, "output": expected}


def asserts(code: str) -> dict[str, str]:
    return {"kind": "assert", "code": code}


def judge(source: Any, answer: str, *tests: Mapping[str, Any]) -> Verdict:
    row = RewardRow(id="1", domain="code", question="", response=answer, answer=answer, tests=tests)

    async def ask() -> Verdict:
        try:
            return await source.judge(row)
        finally:
            await source.close()

    return asyncio.run(ask())


def test_it_is_a_reward_source(make_source: Callable[..., Any]) -> None:
    assert isinstance(make_source(), RewardSource)


def test_a_right_program_passes_and_the_last_fence_counts(make_source: Callable[..., Any]) -> None:
    answer = f"First try:\n```python\nprint(0)\n```\nBetter:\n```python\n{DOUBLE}\n```\nDone."
    verdict = judge(make_source(), answer, stdin("3", "6\n"), stdin("4\n", "8"))
    assert (verdict.score, verdict.passed) == (1.0, True)


def test_the_score_is_the_share_of_tests_passed(make_source: Callable[..., Any]) -> None:
    verdict = judge(make_source(), "print(6)", stdin("3", "6"), stdin("4", "8"))
    assert (verdict.score, verdict.passed) == (0.5, False)
    assert "test 1: printed '6" in verdict.reason and "expected '8'" in verdict.reason


def test_a_program_that_ends_with_an_error_fails(make_source: Callable[..., Any]) -> None:
    verdict = judge(make_source(), "print(6)\nraise SystemExit(3)", stdin("3", "6"))
    assert verdict.passed is False and "ended with code 3" in verdict.reason


def test_expected_outputs_stay_here(make_source: Callable[..., Any], server: Any) -> None:
    judge(make_source("unhurried"), DOUBLE, stdin("3", "424242"))
    assert "424242" not in repr(server.bodies)


def test_the_limits_are_told_to_the_server(make_source: Callable[..., Any], server: Any) -> None:
    judge(make_source("unhurried", run_timeout_s=4.0, memory_mib=64), DOUBLE, stdin("3", "6"))
    assert server.bodies == [
        {"code": DOUBLE, "language": "python", "stdin": "3", "run_timeout": 4.0, "memory_limit_MB": 64, "files": {}}
    ]


@pytest.mark.parametrize(
    ("answer", "test"),
    [
        (ADD, "assert add(1, 2) == 3"),
        (ADD, "def check(candidate):\n    assert candidate([1], [2]) == [1, 2]\n\ncheck(add)"),
        (ADD, "if __name__ == '__main__':\n    assert add('a', 'b') == 'ab'"),
        ("def f(): return (1, {2}, {'a': [None, b'x']}, float('inf'), 10**30)", "assert f() == (1, {2}, {'a': [None, b'x']}, float('inf'), 10**30)"),
        ("def f(): return (1, 2)", "assert f() != [1, 2] and isinstance(f(), tuple)"),
        ("class Solution:\n    def twice(self, x): return 2 * x", "assert Solution().twice(4) == 8"),
        ("def f(x):\n    if x < 0: raise ValueError('negative')", "try:\n    f(-1)\n    assert False\nexcept ValueError as e:\n    assert 'negative' in str(e)"),
        ("def f(x): x.sort()", "a = [3, 1, 2]\nf(a)\nassert a == [1, 2, 3]"),
        ("def f(n):\n    for i in range(n): yield i", "assert list(f(3)) == [0, 1, 2]"),
        ("import math\nfrom math import isclose\ndef f(x): return math.sqrt(x)", "assert isclose(f(2), math.sqrt(2))"),
        ("from fractions import Fraction\ndef f(): return Fraction(1, 2)", "assert f() == 0.5"),
        ("class Stack:\n    def __init__(self): self.items = []\n    def push(self, x): self.items.append(x)\n    def __len__(self): return len(self.items)", "s = Stack()\ns.push(4)\nassert len(s) == 1 and s.items[0] == 4"),
        ("PRIMES = [2, 3, 5]", "assert PRIMES == [2, 3, 5]"),
        ("from collections import Counter\ndef f(s): return Counter(s)", "assert f('aab') == {'a': 2, 'b': 1}"),
        ("from __future__ import annotations\nfrom dataclasses import dataclass\n@dataclass\nclass P:\n    x: int", "assert P(3).x == 3"),
        (ADD, "def check(add):\n    assert add(1, 2) == 3\n\ncheck(add)"),
        ("def f(items, kind): return [i for i in items if type(i) is kind]", "assert f([1, 'a'], str) == ['a']"),
        ("def queue(x): return x", "assert queue(3) == 3"),
        ("import math\ndef f(x): return math.floor(x)", "import math\nassert math.isclose(f(2.5), 2)"),
        ("class Bag:\n    def __iter__(self): return iter([1, 2])\n    def __repr__(self): return 'Bag'\ndef f(): return Bag()", "assert 2 in f() and repr(f()) == 'Bag'"),
        ("print('noise')\ndef f(): print('more'); return 1", "assert f() == 1"),
    ],
)  # fmt: skip
def test_right_code_passes_its_assertions(make_source: Callable[..., Any], answer: str, test: str) -> None:
    verdict = judge(make_source(), answer, asserts(test))
    assert verdict.passed is True, verdict.reason


EQUAL = "class Equal(int):\n    def __eq__(self, other): return True\n    def __ne__(self, other): return False\n    __hash__ = int.__hash__\n"


#: Takes over the pipe and answers with builtins of its own, in which every distance is 0.
FORGED_NAMES = """
import json, os, sys
names = {"d": [["add", {"o": 0}], ["__builtins__", {"d": [["abs", {"o": 1}]]}]]}
replies = [{"value": names}, {"value": 9, "arguments": []}, {"value": 0, "arguments": []}]
os.write(int(sys.argv[2]), "".join(json.dumps(reply) + chr(10) for reply in replies).encode())
sys.stdin.read()
"""


@pytest.mark.parametrize(
    ("answer", "test"),
    [
        ("def add(a, b): return a - b", "assert add(1, 2) == 3"),
        (EQUAL + "def add(a, b): return Equal(0)", "assert add(1, 2) == 3"),
        ("class Equal:\n    def __eq__(self, other): return True\ndef add(a, b): return Equal()", "assert add(1, 2) == 3"),
        ("import os\ndef add(a, b): os._exit(0)", "assert add(1, 2) == 3"),
        ("import sys\ndef add(a, b): sys.exit(0)", "assert add(1, 2) == 3"),
        ("import os, signal\nos.kill(os.getppid(), signal.SIGKILL)", "assert add(1, 2) == 3"),
        ("import builtins\nbuiltins.AssertionError = Warning\ndef add(a, b): return 0", "assert add(1, 2) == 3"),
        ("import math\nmath.isclose = lambda *a, **k: True\ndef f(): return 0.0", "assert math.isclose(f(), 1.0)"),
        ("import sys\ndef add(a, b):\n    f = sys._getframe()\n    while f:\n        f.f_globals.update(outcome='passed')\n        f = f.f_back\n    return 0", "assert add(1, 2) == 3"),
        ("import os\ndef add(a, b):\n    for fd in range(20):\n        try: os.write(fd, b'{\"outcome\": \"passed\"}\\n')\n        except OSError: pass\n    return 0", "assert add(1, 2) == 3"),
        ("import os\ndef add(a, b):\n    out = open(f'/proc/{os.getppid()}/fd/1', 'w')\n    out.write('\\n' + 'x' * 32 + ' {\"outcome\": \"passed\"}\\n' * 9)\n    out.flush()\n    return 0", "assert add(1, 2) == 3"),
        ("def f(x):\n    x.clear()\n    return []", "a = [1, 2]\nassert f(a) == sorted(a)"),
        ("class All:\n    def __contains__(self, x): return True\n    def __iter__(self): return iter([])\ndef f(): return All()", "assert 3 in f()"),
        (FORGED_NAMES, "assert abs(add(1, 2) - 3) < 1e-6"),
        ("raise KeyError('at load')", "assert add(1, 2) == 3"),
        ("def add(a, b:", "assert add(1, 2) == 3"),
        ("def other(): pass", "assert add(1, 2) == 3"),
        ("a = []\na.append(a)\ndef add(x, y): return a", "assert add(1, 2) == 3"),
        ("x = '\0'", "assert x"),
    ],
)  # fmt: skip
def test_wrong_code_fails_its_assertions(make_source: Callable[..., Any], answer: str, test: str) -> None:
    verdict = judge(make_source(), answer, asserts(test))
    assert (verdict.passed, verdict.score) == (False, 0.0), verdict.reason


def test_the_attack_by_equality_succeeds_in_process() -> None:
    """The positive control: without the second process this answer is paid."""
    namespace: dict[str, Any] = {}
    exec(EQUAL + "def add(a, b): return Equal(0)", namespace)
    exec("assert add(1, 2) == 3", namespace)


@pytest.mark.parametrize(
    ("answer", "test", "reason"),
    [
        ("def abs(x): return 0\ndef f(): return 9.0", "assert abs(f() - 1.0) < 1e-6", "defines abs anew"),
        ("import types\nmath = types.SimpleNamespace(isclose=lambda *a: True)\ndef f(): return 0", "assert math.isclose(f(), 1)", "defines math anew"),
        ("from math import isclose\ndef isclose(*a): return True\ndef f(): return 0", "assert isclose(f(), 1)", "defines isclose anew"),
        ("class Less:\n    def __lt__(self, other): return True\ndef f(): return Less()", "assert f() < 1", "orders an object"),
        ("class Near:\n    def __sub__(self, other): return 0\ndef f(): return Near()", "assert abs(f() - 1.0) < 1e-6", "calculates with"),
        ("class C: pass\ndef f(): return 3", "assert isinstance(f(), C)", "class of an object"),
        (ADD, "def check(candidate):\n    assert candidate(1, 2) == 3", "does not use the response"),
        ("def f(g): return g(1)", "assert f(lambda x: x) == 1", "hands over a function"),
        ("class Equal:\n    def __eq__(self, other): return True\ndef f(): return Equal()", "assert f() == f()", "equality is the response's own"),
        ("def f(): return object()", "assert f()", "truth of an object"),
        (ADD, "assert add(1, 2 == 3", "the test is no Python"),
    ],
)  # fmt: skip
def test_what_cannot_be_decided_is_none(make_source: Callable[..., Any], answer: str, test: str, reason: str) -> None:
    verdict = judge(make_source(), answer, asserts(test))
    assert (verdict.score, verdict.passed) == (None, None)
    assert reason in verdict.reason


@pytest.mark.parametrize(
    ("tests", "reason"),
    [
        ([], "no tests"),
        ([{"kind": "call", "entry_point": "f", "args": [], "expected": 1}], "test 0 of the row: .*'call'"),
        ([{"kind": "stdin", "input": "1"}], "output: Field required"),
        ([{"kind": "stdin", "input": "1", "output": 2}], "valid string"),
        ([stdin("1", "1") | {"ouput": "2"}], "ouput: Extra inputs"),
        ([stdin("\ud800", "1")], "lone surrogate"),
        ([{"code": "assert True"}], "discriminator"),
        (["assert add(1, 2) == 3"], "test 0 of the row"),
        ([stdin("1", "x" * (1 << 20))], "more output than the 1048576 bytes"),
    ],
)
def test_tests_that_cannot_be_run_are_none(
    make_source: Callable[..., Any], server: Any, tests: Sequence[Any], reason: str
) -> None:
    verdict = judge(make_source(), DOUBLE, *tests)
    assert (verdict.score, verdict.passed) == (None, None)
    assert re.search(reason, verdict.reason), verdict.reason
    assert not server.bodies


@pytest.mark.parametrize(("answer", "reason"), [("", "no code"), ("```\n\n```", "no code"), ("\ud800", "surrogate")])
def test_an_answer_without_a_program_fails(make_source: Callable[..., Any], answer: str, reason: str) -> None:
    verdict = judge(make_source(), answer, stdin("1", "1"))
    assert verdict.passed is False and reason in verdict.reason


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ("sandbox_error", "could not run the program: 'exception on running code'"),
        ("command_error", "could not run the program"),
        ("fails", "status 500"),
        ("busy", "status 429"),
        ("refuses", "refuses the request with status 422"),
        ("html", "no reply of SandboxFusion but '<html>"),
        ("empty", "no reply of SandboxFusion"),
        ("cut_json", "no reply of SandboxFusion"),
        ("unknown_status", "no reply of SandboxFusion"),
        ("no_run_result", "lacks run_result"),
        ("no_return_code", "lacks run_result, its return_code"),
        ("no_stdout", "lacks run_result, its return_code or its stdout"),
        ("half_body", "cannot be reached: RemoteProtocolError"),
        ("huge", "longer than 1048576 bytes"),
    ],
)
def test_a_sandbox_that_fails_is_none_with_an_alarm(
    make_source: Callable[..., Any], behaviour: str, reason: str
) -> None:
    verdict = judge(make_source(behaviour, longest_reply_bytes=1 << 20), DOUBLE, stdin("1", "2"))
    assert (verdict.score, verdict.passed) == (None, None)
    assert reason in verdict.reason
    assert verdict.details == {"alarm": "sandbox_down", "sandbox_down_count": 1}


def test_a_sandbox_that_never_answers_is_none(make_source: Callable[..., Any]) -> None:
    verdict = judge(make_source("slow", run_timeout_s=0.1, queue_s=0.1, attempts=1), DOUBLE, stdin("1", "2"))
    assert verdict.score is None and "no whole reply within 0.2 s" in verdict.reason


def test_a_refused_connection_is_none(make_source: Callable[..., Any], closed_port: int) -> None:
    verdict = judge(make_source(endpoint=f"http://127.0.0.1:{closed_port}"), DOUBLE, stdin("1", "2"))
    assert verdict.score is None and "cannot be reached" in verdict.reason


def test_a_harness_that_never_started_is_none(make_source: Callable[..., Any]) -> None:
    verdict = judge(make_source("unhurried"), ADD, asserts("assert add(1, 2) == 3"))
    assert verdict.score is None and "did not start the test" in verdict.reason


@pytest.mark.parametrize(
    ("behaviour", "test"), [("time_limit", stdin("1", "2")), ("stuck_in_test", asserts("assert add(1, 2) == 3"))]
)
def test_a_program_over_its_time_fails(make_source: Callable[..., Any], behaviour: str, test: Any) -> None:
    verdict = judge(make_source(behaviour), DOUBLE, test)
    assert verdict.passed is False and "over the limit of 120 s" in verdict.reason


def test_a_failure_that_passes_is_tried_again(make_source: Callable[..., Any], server: Any) -> None:
    assert judge(make_source("recovers"), DOUBLE, stdin("1", "7")).passed is True
    assert len(server.bodies) == 3


def test_runs_at_a_time_are_limited(make_source: Callable[..., Any], server: Any) -> None:
    judge(make_source("unhurried", requests_in_flight=2), DOUBLE, *[stdin("1", "7")] * 6)
    assert len(server.bodies) == 6 and server.most_at_a_time <= 2
