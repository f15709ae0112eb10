"""The code reward as its callers see it: verdicts for right, wrong, hostile and unjudgeable rows."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from pangu_verl.mars.code.pool import SandboxPool
from pangu_verl.mars.code.rewards import CodeReward
from pangu_verl.mars.code.source import CodeSource
from pangu_verl.types import RewardRow, RewardSource, Verdict

Judge = Callable[..., Verdict]


def asserts(code: str) -> dict[str, Any]:
    return {"kind": "assert", "code": code}


def calls(expected: Any, *args: Any, entry_point: str = "f") -> dict[str, Any]:
    return {"kind": "call", "entry_point": entry_point, "args": list(args), "expected": expected}


def prints(output: str, given: str = "") -> dict[str, Any]:
    return {"kind": "stdin", "input": given, "output": output}


def test_the_source_fits_the_interface(pool: SandboxPool) -> None:
    assert isinstance(CodeSource(pool=pool), RewardSource)


# --- calls -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "test"),
    [
        ("def f(x): return x + 1", calls(2, 1)),
        ("def f(x): return (x, [x])", calls([1, [1]], 1)),
        ("def f(n): yield from range(n)", calls([0, 1, 2], 3)),
        ("def f(n): return (yield_ for yield_ in map(str, range(n)))", calls(["0", "1"], 2)),
        ("class Solution:\n def f(self, xs: List[int]) -> int: return sum(xs)", calls(3, [1, 2])),
        ("class A:\n def g(self, x): return x", calls(5, 5, entry_point="A.g")),
        ("def f(x): return 10 ** x", calls(10**30, 30)),
        ("def f(x): return math.sqrt(x)", calls(1.414214, 2)),
        ("print('noise')\ndef f(x):\n print('more')\n return x", calls(1, 1)),
        ("from dataclasses import dataclass\n@dataclass\nclass P: x: int\ndef f(x): return P(x).x", calls(1, 1)),
    ],
)
def test_right_result_of_a_call_passes(code: str, test: dict[str, Any], judge: Judge) -> None:
    verdict = judge(code, test)
    assert (verdict.passed, verdict.score) == (True, 1.0), verdict.reason


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("def f(x): return x", "f gave 1, expected 2"),
        ("def g(x): return 2", "NameError: name 'f' is not defined"),
        ("def f(x): return 1 / 0", "ZeroDivisionError"),
        ("def f(x): return object()", "which is no data"),
        ("def f(x):\n x = []\n x.append(x)\n return x", "nested deeper"),
        ("def f(x: return", "SyntaxError"),
        ("def f(x):\n while True: pass", "over the limit of 1 s of CPU time"),
        ("def f(x): return f(x)", "RecursionError"),
        ("def f(x): return 'a' * 10**10", "MemoryError"),
        ("def f(x):\n while True: yield 1", "more than 1000000 items|CPU time"),
        (
            "def f(x): return 10 ** 100_000",
            "the program's process ended without an answer|JSON|integer string conversion|gave",
        ),
        ("x = '\ud800'\ndef f(x): return 1", "expected 2|surrogate|SyntaxError|Unicode"),
        ("\x00", "SyntaxError|ValueError"),
    ],
)
def test_wrong_program_fails_with_its_reason(code: str, reason: str, judge: Judge) -> None:
    verdict = judge(code, calls(2, 1), cpu_seconds=1)
    assert verdict.passed is False
    assert any(part in verdict.reason for part in reason.split("|")), verdict.reason


def test_arguments_may_be_given_by_keyword(judge: Judge) -> None:
    test = {"kind": "call", "entry_point": "f", "args": {"b": 1, "a": 3}, "expected": 2}
    assert judge("def f(a, b): return a - b", test).passed


# --- whole programs --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "code",
    [
        "print(int(input()) + 1)",
        "import sys\nprint(int(sys.stdin.read()) + 1)",
        "import sys\nprint(*[int(line) + 1 for line in sys.stdin.buffer])",
        "import os\nos.write(1, b'%d' % (int(os.read(0, 9)) + 1))",
        "print(int(open(0).read()) + 1)",
        "if __name__ == '__main__':\n print(int(input()) + 1)",
        "import sys\nprint(int(input()) + 1)\nsys.exit()",
        "import os\nprint(int(input()) + 1, flush=True)\nos._exit(0)",
        "import sys, threading\nsys.setrecursionlimit(10**6)\nthreading.stack_size(1 << 26)\n"
        "t = threading.Thread(target=lambda: print(int(input()) + 1))\nt.start()\nt.join()",
        "open('scratch', 'w').write(input())\nprint(int(open('scratch').read()) + 1)",
        "import asyncio\nasync def main(): print(int(input()) + 1)\nmain().send(None) if 0 else None\nprint(int(input()) + 1)",
    ],
)
def test_program_reads_and_prints_as_programs_do(code: str, judge: Judge) -> None:
    verdict = judge(code, prints("4", "3\n"))
    assert verdict.passed, verdict.reason


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("print(5)", "printed '5"),
        ("print(4)\n1/0", "ZeroDivisionError"),
        ("print(4)\nraise SystemExit(3)", "SystemExit"),
        ("import os\nprint(4, flush=True)\nos.abort()", "left with code"),
        ("while True: print(4)", "limit"),
        ("", "no code found"),
    ],
)
def test_wrong_output_or_a_crash_fails(code: str, reason: str, judge: Judge) -> None:
    verdict = judge(code, prints("4"), cpu_seconds=1)
    assert verdict.passed is False
    assert reason in verdict.reason


def test_program_that_sleeps_is_ended_by_wall_time(judge: Judge) -> None:
    verdict = judge("import time\ntime.sleep(600)", prints("4"), cpu_seconds=0.1)
    assert verdict.passed is False
    assert "of wall time" in verdict.reason


# --- asserts ---------------------------------------------------------------------------------------------------------

SHAPES = "class Shape:\n sides = 4\n def __init__(self, a): self.a = a\n def area(self): return self.a ** 2\n"


@pytest.mark.parametrize(
    ("code", "test"),
    [
        ("def f(x): return (1, 'a', 2.5, None, True, b'x')", "assert f(1) == (1, 'a', 2.5, None, True, b'x')"),
        ("def f(x): return {(1, 2): {3}}", "assert f(1) == {(1, 2): {3}} and type(f(1)) is dict"),
        ("def f(x): return frozenset({1j})", "assert f(1) == frozenset({1j}) and isinstance(f(1), frozenset)"),
        ("def f(x): return x", "assert f([1, (2,)]) == [1, (2,)]"),
        ("LIMIT = 7\ndef f(x): return LIMIT", "assert f(1) == LIMIT == 7"),
        (SHAPES, "s = Shape(3)\nassert s.area() == 9 and s.a == 3 and Shape.sides == 4 and isinstance(s, Shape)"),
        (SHAPES, "s = Shape(3)\ns.a = 4\nassert s.area() == 16"),
        ("def f(n):\n for i in range(n): yield i", "assert list(f(3)) == [0, 1, 2]\nassert next(f(3)) == 0"),
        ("def f(g, x): return g(g(x))", "assert f(lambda x: x + 1, 1) == 3"),
        ("def f(x): return sorted(x, key=len)", "assert f(iter(['aa', 'b'])) == ['b', 'aa']"),
        ("def f(g): return g('12')", "assert f(int) == 12"),
        ("def f(): return lambda x: x * 2", "assert f()(4) == 8"),
        (
            "def f(x): raise ValueError('no')",
            "try: f(1)\nexcept ValueError as e: assert str(e) == 'no'\nelse: assert 0",
        ),
        ("class Bad(ValueError): pass\ndef f(x): raise Bad('no')", "try: f(1)\nexcept Bad: pass\nelse: assert 0"),
        ("def f(xs): xs.sort()", "xs = [2, 1]\nassert f(xs) is None and xs == [1, 2]"),
        (
            "class Box:\n def __init__(s): s.x = []\n def add(s, v): s.x.append(v)\n def __len__(s): return len(s.x)\n def __getitem__(s, i): return s.x[i]",
            "b = Box()\nb.add(5)\nassert len(b) == 1 and b[0] == 5 and 5 in b",
        ),
        (
            "class V:\n def __init__(s, x): s.x = x\n def __add__(s, o): return V(s.x + o.x)\n def __eq__(s, o): return s.x == o.x",
            "assert V(1) + V(2) == V(3)",
        ),
        (
            "async def f(x): return x",
            "import asyncio\nasync def main(): return await f(4)\nassert asyncio.run(main()) == 4",
        ),
        (
            "def f(x): return x",
            "import unittest\nclass T(unittest.TestCase):\n def test(self): self.assertEqual(f(1), 1)\nunittest.main(module=None, argv=['x', 'T.test']) if 0 else T('test').debug()",
        ),
        ("import math\ndef f(x): return math.pi", "assert math.isclose(f(1), math.pi)"),
        ("def gcd(a, b): return 1", "assert gcd(4, 6) == 1"),
        ("def f(x): return x", "for i in range(500): assert f(i) == i"),
        ("from fractions import Fraction\ndef f(x): return Fraction(1, x)", "assert f(3) * 3 == 1"),
    ],
)
def test_test_code_sees_the_programs_values(code: str, test: str, judge: Judge) -> None:
    verdict = judge(code, asserts(test))
    assert verdict.passed, verdict.reason


@pytest.mark.parametrize(
    ("code", "test"),
    [
        ("def f(x): return 1", "assert f(1) == 2"),
        ("def f(x): return [1]", "assert f(1) == (1,)"),
        ("def f(x): return True", "assert type(f(1)) is int"),
        ("x = 1", "assert f(1) == 1"),
        ("1/0", "pass"),
        ("def f(x): import os; os._exit(0)", "try: f(1)\nexcept BaseException: pass"),
        ("def f(x): raise KeyboardInterrupt", "f(1)"),
        ("def f(x): raise ModuleNotFoundError('x')", "f(1)"),
        ("def f(x):\n while True: pass", "f(1)"),
        ("def f(x): return x", "import sys\nsys.exit(1)"),
    ],
)
def test_test_that_fails_fails(code: str, test: str, judge: Judge) -> None:
    assert judge(code, asserts(test), cpu_seconds=1).passed is False


@pytest.mark.parametrize("test", ["assert f(", "import no_such_module_anywhere\nassert f(1)"])
def test_test_that_is_broken_itself_judges_nobody(test: str, judge: Judge) -> None:
    verdict = judge("def f(x): return 1", asserts(test))
    assert verdict.passed is None
    assert "broken" in verdict.reason


# --- rows ------------------------------------------------------------------------------------------------------------


def test_row_without_understandable_tests_is_not_judged(judge: Judge) -> None:
    assert judge("x = 1").passed is None
    assert judge("x = 1", {"kind": "asert", "code": "x"}).passed is None


def test_score_is_the_share_of_tests_passed(judge: Judge) -> None:
    verdict = judge("def f(x): return abs(x)", calls(1, 1), calls(0, 0), calls(-2, -2), calls(3, -3))
    assert (verdict.passed, verdict.score) == (False, 0.75)
    assert verdict.details["num_passed"] == 3


def test_stage_scheme_stops_at_the_first_failure(pool: SandboxPool) -> None:
    source = CodeSource(pool=pool, reward=CodeReward(scheme="stage"))
    answer = "def f(x): return x"
    row = RewardRow(
        id="1", domain="code", question="", response=answer, answer=answer, tests=[calls(0, 1), calls(1, 1)]
    )
    verdict = asyncio.run(source.judge(row))
    assert (verdict.passed, verdict.score, verdict.details["num_run"]) == (False, 0.2, 1)


def test_slow_program_does_not_run_all_its_tests(judge: Judge) -> None:
    verdict = judge("def f(x):\n while True: pass", *[calls(1, 1)] * 50, cpu_seconds=1)
    assert (verdict.passed, verdict.details["num_run"]) == (False, 2)


def test_code_inside_the_reasoning_is_not_judged(pool: SandboxPool) -> None:
    row = RewardRow(
        id="1",
        domain="code",
        question="",
        response="<think>```python\ndef f(x): return 1\n```</think>",
        answer="",
        tests=[calls(1, 1)],
    )
    verdict = asyncio.run(CodeSource(pool=pool).judge(row))
    assert (verdict.passed, verdict.reason) == (False, "no code found")


def test_verdict_states_the_layers(judge: Judge, pool: SandboxPool) -> None:
    assert judge("x = 1", prints("")).details["layers"] == sorted(pool.standing().held)


def test_source_works_from_threads(judge: Judge) -> None:
    verdicts: list[Verdict] = []
    threads = [threading.Thread(target=lambda: verdicts.append(judge("print(4)", prints("4")))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [verdict.passed for verdict in verdicts] == [True] * 4


def test_where_only_limits_hold_the_source_refuses() -> None:
    without = ("user_namespace", "network_namespace", "process_namespace", "mount_namespace", "landlock", "seccomp")
    source = CodeSource(pool=SandboxPool(slots=1, without=without))
    row = RewardRow(id="1", domain="code", question="", response="x = 1", answer="x = 1", tests=[prints("")])
    verdict = asyncio.run(source.judge(row))
    source.close()
    assert verdict.passed is None
    assert "nothing guards files, network, processes" in verdict.reason
