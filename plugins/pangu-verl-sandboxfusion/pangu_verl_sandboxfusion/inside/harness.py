"""Runs one assert test, in a process apart from the response.

An ``__eq__`` that is always true, a patched ``assert`` or a walk up the stack find nothing to work on here. The report
is signed with a word that came by standard input before the response's process was started, so that one cannot write a
report of its own. Not held off: a response that may read or change other processes' memory (root, ptrace) or the
installed libraries.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import ctypes
import json
import os
import sys

from pangu_verl_sandboxfusion.inside.remote import Broken, Link, Remote, Unsupported

PR_SET_DUMPABLE = 4


def judge(solution: str, test: str, folder: str) -> tuple[str, str]:
    """What became of the test ("passed", "failed", "unsupported"), and why."""
    try:
        program, tree = compile(test, "<test>", "exec"), ast.parse(test)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return "unsupported", f"the test is no Python: {error}"
    try:
        imports, defined = _bound(ast.parse(solution))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return "failed", f"the response is no Python: {error}"
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and not node.id.startswith("__")}
    common = {name for name in used if _is_common(name, tree) or (name in imports and name in defined)}
    link = Link(folder)
    try:
        # Of what comes back only what was asked for is taken: the response may answer with any names.
        values = link.ask({"solution": solution, "names": sorted(used)})
        own = {name: values[name] for name in used if name in values and (name in defined or name not in imports)}
        for name in sorted(common & set(own) - set().union(*_bound(tree))):
            return "unsupported", f"the response defines {name} anew, which the test uses"
        namespace = {"__name__": "__main__"} | {name: value for name, value in own.items() if name not in common}
        for name in used & set(imports) - set(defined):
            with contextlib.suppress(Exception):
                exec(imports[name], namespace)
        exec(program, namespace)
        if not link.calls and all(isinstance(value, Remote) for value in own.values()):
            return "unsupported", "the test does not use the response"
    except AssertionError as error:
        return "failed", f"an assertion does not hold: {error}"
    except Unsupported as error:
        return "unsupported", str(error)
    except Broken:
        return "failed", "the response ended or blocked its process"
    except BaseException as error:  # noqa: BLE001 - whatever a test or a response raises, it did not pass
        return "failed", f"{type(error).__name__}: {error}"
    finally:
        link.process.kill()
    return "passed", ""


def _is_common(name: str, test: ast.Module) -> bool:
    """Whether a test that uses this name means Python's own: a builtin, or a module of which it takes something."""
    if name not in getattr(sys, "stdlib_module_names", ()):
        return hasattr(builtins, name)
    owners = (node.value for node in ast.walk(test) if isinstance(node, ast.Attribute))
    return any(isinstance(owner, ast.Name) and owner.id == name for owner in owners)


def _bound(tree: ast.Module) -> tuple[dict[str, str], set[str]]:
    """The names that a program binds on its top level: those it imports, with their statements, and the others."""
    imports: dict[str, str] = {}
    others: set[str] = set()
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            for alias in node.names:
                name = (alias.asname or alias.name).partition(".")[0]
                imports[name] = _single(node, alias)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            others.add(node.name)
        else:
            if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
                others.add(node.id)
            waiting += ast.iter_child_nodes(node)
    return imports, others


def _single(node: ast.Import | ast.ImportFrom, alias: ast.alias) -> str:
    if isinstance(node, ast.Import):
        return ast.unparse(ast.Import([alias]))
    return ast.unparse(ast.ImportFrom(node.module, [alias], node.level))


def main() -> None:
    folder = sys.path.pop(0)  # where this file is, and where the response may write
    if hasattr(sys, "set_int_max_str_digits"):
        sys.set_int_max_str_digits(0)
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)  # its memory is not for the response
    job = json.loads(sys.stdin.read())
    print("\n" + job["word"], json.dumps({"outcome": "started"}), flush=True)
    outcome, reason = judge(job["solution"], job["test"], folder)
    print("\n" + job["word"], json.dumps({"outcome": outcome, "reason": reason[:500]}), flush=True)
    os._exit(0)  # at once: nothing that the test left behind may still run
