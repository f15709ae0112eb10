"""Published solutions with one thing changed: of those that plain execution fails, how many does a grader reject?

Those that plain execution passes all the same are counted too, because a grader could reject what is right. A change
turns a comparison or an operator round, adds one to a number, or returns nothing.
"""

from __future__ import annotations

import ast
import random
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from pangu_verl.mars.code.source import CodeSource

from . import OURS, SEED
from .code_graders import CORES, PRIME_CODE, judged, passes_plainly, prime_code_passes, workers
from .code_tasks import Task, human_eval, mbpp
from .measuring import on_cores

WANTED = 500
MUTANTS_A_TASK = 3
BATCH = 50
CPU_SECONDS = 2.0

_TURNED_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.GtE, ast.GtE: ast.Lt, ast.Gt: ast.LtE, ast.LtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
}  # fmt: skip
_TURNED_OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.Mod: ast.Add, ast.FloorDiv: ast.Mult,
}  # fmt: skip


def measure(data: Path, repeats: int) -> dict[str, Any]:
    groups = wrong, harmless = sorted_by_execution(mutants([*human_eval(data), *mbpp(data)]), WANTED)
    with on_cores(CORES):
        with workers() as pool:
            theirs: list[list[bool | None]] = [list(pool.map(prime_code_passes, group)) for group in groups]
        source = CodeSource(slots=CORES)
        try:
            ours = [_judged_by_us(source, group) for group in groups]
        finally:
            source.close()
    verdicts: dict[str, list[list[bool | None]]] = {OURS: ours, PRIME_CODE: theirs}
    results = [_figures(name, wrong, *passed) for name, passed in verdicts.items()]
    return {"wrong": len(wrong), "harmless": len(harmless), "results": results}


def _judged_by_us(source: CodeSource, tasks: Sequence[Task]) -> list[bool | None]:
    return [verdict.passed for verdict in judged(source, tasks, cpu_seconds=CPU_SECONDS)]


def mutants(tasks: Sequence[Task]) -> list[Task]:
    """In random order, each changed in one place; no text twice."""
    chance = random.Random(SEED)
    seen: set[str] = set()
    found = []
    for task in tasks:
        for number in range(MUTANTS_A_TASK):
            program = mutated(task.program, chance)
            if program is not None and program not in seen:
                seen.add(program)
                found.append(replace(task, name=f"{task.name}/{number}", program=program))
    chance.shuffle(found)
    return found


def mutated(program: str, chance: random.Random) -> str | None:
    """None where there is nothing to change."""
    tree = ast.parse(program)
    changes = [change for node in ast.walk(tree) if (change := _change(node)) is not None]
    if not changes:
        return None
    chance.choice(changes)()
    return ast.unparse(ast.fix_missing_locations(tree))


def _change(node: ast.AST) -> Callable[[], None] | None:
    match node:
        case ast.Compare(ops=[operator, *others]) if type(operator) in _TURNED_COMPARISONS:
            return lambda: setattr(node, "ops", [_TURNED_COMPARISONS[type(operator)](), *others])
        case ast.BinOp(op=binary) if type(binary) in _TURNED_OPERATORS:
            return lambda: setattr(node, "op", _TURNED_OPERATORS[type(binary)]())
        case ast.Constant(value=int(number)) if not isinstance(number, bool):
            return lambda: setattr(node, "value", number + 1)
        case ast.Return(value=ast.expr()):
            return lambda: setattr(node, "value", ast.Constant(None))
    return None


def sorted_by_execution(candidates: Sequence[Task], wanted: int) -> tuple[list[Task], list[Task]]:
    """Those that plain execution fails and those that it passes, in order, until ``wanted`` have failed."""
    wrong: list[Task] = []
    harmless: list[Task] = []
    with ThreadPoolExecutor(CORES) as threads:
        for first in range(0, len(candidates), BATCH):
            batch = candidates[first : first + BATCH]
            for task, passed in zip(batch, threads.map(_passes_plainly, batch), strict=True):
                (harmless if passed else wrong).append(task)
            if len(wrong) >= wanted:
                break
    return wrong, harmless


def _passes_plainly(task: Task) -> bool:
    return passes_plainly(task.program, task.tests)


def _figures(
    name: str, wrong: Sequence[Task], of_wrong: Sequence[bool | None], of_harmless: Sequence[bool | None]
) -> dict[str, Any]:
    rejected = sum(passed is False for passed in of_wrong)
    return {
        "grader": name,
        "rejected": rejected,
        "rejected_share": rejected / max(len(wrong), 1),
        "unjudged": sum(passed is None for passed in of_wrong),
        "paid_ids": [task.name for task, passed in zip(wrong, of_wrong, strict=True) if passed][:20],
        "harmless_paid": sum(passed is True for passed in of_harmless),
    }


def table(figures: dict[str, Any]) -> list[list[object]]:
    harmless = f"paid of {figures['harmless']} harmless"
    heading = [f"{figures['wrong']} wrong mutants", "rejected", "share", "none", harmless]
    keys = ["grader", "rejected", "rejected_share", "unjudged", "harmless_paid"]
    return [heading, *([result[key] for key in keys] for result in figures["results"])]
