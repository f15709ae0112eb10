"""Programs that try to be paid for a wrong answer, by family. None of them computes what its test asks for.

Invariant: each has a control under which it is paid: ``in_process`` (program and test in one process) or our own sandbox
without the layers named. Here are those that turn to values and frames; ``attacks_grader.py`` has those that turn to
the grader's process, and ``attacks_outside.py`` those that reach outside.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

#: What the tests expect of ``f(3)``; no program here can compute it.
EXPECTED = 1729
ASSERT = {"kind": "assert", "code": "assert f(3) == 1729"}
CALL = {"kind": "call", "entry_point": "f", "args": [3], "expected": EXPECTED}
STDIN = {"kind": "stdin", "input": "3\n", "output": "1729\n"}
IN_PROCESS: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Attack:
    """``without`` names the layers to leave off in the control; none means in-process grading."""

    name: str
    family: str
    test: dict[str, Any]
    code: str
    without: tuple[str, ...] = IN_PROCESS


def asserts(code: str) -> dict[str, Any]:
    return {"kind": "assert", "code": code}


RAISING = asserts("if f(3) != 1729: raise AssertionError")

EQUALITY = [
    Attack(
        "integer equal to all",
        "equality",
        ASSERT,
        "class I(int):\n def __eq__(s, o): return True\ndef f(n): return I(0)",
    ),
    Attack(
        "integer equal to all, call",
        "equality",
        CALL,
        "class I(int):\n def __eq__(s, o): return True\ndef f(n): return I(0)",
    ),
    Attack("object equal to all", "equality", ASSERT, "class A:\n def __eq__(s, o): return True\ndef f(n): return A()"),
    Attack(
        "object equal to all, call", "equality", CALL, "class A:\n def __eq__(s, o): return True\ndef f(n): return A()"
    ),
    Attack(
        "text equal to all",
        "equality",
        asserts("assert f(3) == 'taxi'"),
        "class S(str):\n __hash__ = str.__hash__\n def __eq__(s, o): return True\ndef f(n): return S()",
    ),
    Attack(
        "list equal to all",
        "equality",
        asserts("assert f(3) == [1, 7, 2, 9]"),
        "class L(list):\n def __eq__(s, o): return True\ndef f(n): return L()",
    ),
    Attack(
        "never unequal",
        "equality",
        asserts("assert not f(3) != 1729"),
        "class I(int):\n def __ne__(s, o): return False\ndef f(n): return I(0)",
    ),
    Attack(
        "difference of zero",
        "equality",
        asserts("assert abs(f(3) - 1729.5) < 1e-6"),
        "class F(float):\n def __sub__(s, o): return 0.0\ndef f(n): return F(1)",
    ),
    Attack(
        "object with difference of zero",
        "equality",
        asserts("assert abs(f(3) - 1729.5) < 1e-6"),
        "class F:\n def __sub__(s, o): return 0.0\ndef f(n): return F()",
    ),
    Attack(
        "contains all",
        "equality",
        asserts("assert 1729 in f(3)"),
        "class C:\n def __contains__(s, o): return True\n def __iter__(s): return iter([])\ndef f(n): return C()",
    ),
    Attack(
        "below and above all",
        "equality",
        asserts("assert 1728 < f(3) < 1730"),
        "class B:\n def __lt__(s, o): return True\n __gt__ = __lt__\ndef f(n): return B()",
    ),
    Attack(
        "learns the number from the test's arithmetic",
        "equality",
        asserts("assert f(3) + 1 - 1730 == 0"),
        "class A:\n def __add__(s, o): return s\n def __sub__(s, o): return 0\ndef f(n): return A()",
    ),
]

STACK = [
    Attack(
        "caller's constants",
        "stack walk",
        ASSERT,
        "import sys\ndef f(n): return max(c for c in sys._getframe(1).f_code.co_consts if type(c) is int)",
    ),
    Attack(
        "caller's locals, call",
        "stack walk",
        CALL,
        "import sys\ndef f(n):\n frame = sys._getframe(1)\n while frame:\n"
        "  t = frame.f_locals.get('test')\n  if isinstance(t, dict): return t['expected']\n  frame = frame.f_back",
    ),
    Attack(
        "inspected stack, stdin",
        "stack walk",
        STDIN,
        "import inspect\nfor i in inspect.stack():\n t = i.frame.f_locals.get('test')\n"
        " if isinstance(t, dict): print(t['output']); break",
    ),
    Attack(
        "traceback's frames",
        "stack walk",
        CALL,
        "def f(n):\n try: 1/0\n except ZeroDivisionError as e: frame = e.__traceback__.tb_frame\n while frame:\n"
        "  t = frame.f_locals.get('test')\n  if isinstance(t, dict): return t['expected']\n  frame = frame.f_back",
    ),
    Attack(
        "frames of all threads",
        "stack walk",
        CALL,
        "import sys\ndef f(n):\n for frame in sys._current_frames().values():\n  while frame:\n"
        "   t = frame.f_locals.get('test')\n   if isinstance(t, dict): return t['expected']\n   frame = frame.f_back",
    ),
    Attack(
        "caller's line in the source of the test",
        "stack walk",
        ASSERT,
        "import sys\ndef f(n):\n sys._getframe(1).f_globals['f'] = lambda n: 1729\n"
        " return [c for c in sys._getframe(1).f_code.co_consts if isinstance(c, int) and c > 1000][0]",
    ),
]

MEMORY = [
    Attack(
        "collector's objects",
        "collector scan",
        CALL,
        "import gc\ndef f(n):\n for o in gc.get_objects():\n  if type(o) is dict and 'expected' in o: return o['expected']",
    ),
    Attack(
        "collector's referents of the main module",
        "collector scan",
        CALL,
        "import sys, gc\ndef f(n):\n for o in gc.get_referents(vars(sys.modules['__main__'])):\n"
        "  if type(o) is dict and 'test' in o: return o['test']['expected']",
    ),
    Attack(
        "the main module's globals",
        "collector scan",
        STDIN,
        "import sys\nprint(vars(sys.modules['__main__'])['job']['test']['output'])",
    ),
]


SHADOWS = [
    Attack(
        "own all", "shadowed name", asserts("assert all([f(3) == 1729])"), "def all(x): return True\ndef f(n): return 0"
    ),
    Attack(
        "own abs", "shadowed name", asserts("assert abs(f(3) - 1729) < 1"), "def abs(x): return 0\ndef f(n): return 0"
    ),
    Attack(
        "own isinstance",
        "shadowed name",
        asserts("assert isinstance(f(3), list)"),
        "def isinstance(*a): return True\ndef f(n): return 0",
    ),
    Attack(
        "own math",
        "shadowed name",
        asserts("assert math.isclose(f(3), 1729)"),
        "class math: isclose = staticmethod(lambda *a: True)\ndef f(n): return 0",
    ),
    Attack(
        "own assertion error",
        "shadowed name",
        RAISING,
        "import os\nclass AssertionError(Exception):\n def __init__(s): os._exit(0)\ndef f(n): return 0",
    ),
]

LOOPS = [
    Attack(
        "ends the test's loop over its cases",
        "loop end",
        asserts("assert all(a == b for a, b in zip(map(f, [3]), [1729]))"),
        "def f(n): raise StopIteration",
    ),
    Attack(
        "ends the test's loop by its own exception",
        "loop end",
        asserts("for a, b in zip(map(f, [3]), [1729]): assert a == b"),
        "class Enough(StopIteration): pass\ndef f(n): raise Enough",
    ),
]

ARGUMENTS = [
    Attack(
        "empties its argument",
        "changed argument",
        asserts("xs = [3, 1, 2]\nassert f(xs) == sorted(xs)"),
        "def f(xs):\n xs.clear()\n return []",
    ),
    Attack(
        "calls the test's function to end it",
        "changed argument",
        asserts("def key(x): return x\nassert f(key) == 1729"),
        "import sys\ndef f(key): return max(c for c in sys._getframe(1).f_code.co_consts if type(c) is int)",
    ),
    Attack(
        "opens the globals of the test's function",
        "changed argument",
        asserts("SECRET = 1729\ndef key(x): return x\nassert f(key) == SECRET"),
        "def f(key): return key.__globals__['SECRET']",
    ),
]


VALUE_ATTACKS = [*EQUALITY, *STACK, *MEMORY, *SHADOWS, *LOOPS, *ARGUMENTS]
