"""The fastest offline schedule, as a linear programme: an oracle for ``pangu_verl.simulate.bounds``.

A trajectory may be interrupted and moved at will; it is made between the publication that its bound allows and the
begin of its step, never in two slots at once, on the given slots. Variables are the waits before each step and, for each
trajectory, how long it runs in each interval between publications and begins of steps.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from scipy.optimize import linprog
from scipy.sparse import lil_array


def fastest_s(durations_s: Sequence[Sequence[float]], train_s: Sequence[float], bound: int, slots: int) -> float:
    """Least total time in seconds; ``durations_s[k]`` are those of step k's trajectories, which runs at version k."""
    num_steps = len(train_s)
    #: (of the wait before step j, or of its training; j) -> the variables that run in it.
    intervals: defaultdict[tuple[str, int], list[int]] = defaultdict(list)
    trajectories: list[tuple[float, list[int]]] = []
    num_variables = num_steps
    for step, durations in enumerate(durations_s):
        for duration_s in durations:
            mine = []
            for other in range(max(0, step - bound), step + 1):
                for kind in ("wait", "train") if other < step else ("wait",):
                    intervals[kind, other].append(num_variables)
                    mine.append(num_variables)
                    num_variables += 1
            trajectories.append((duration_s, mine))
    whole = lil_array((len(trajectories), num_variables))
    for row, (_, mine) in enumerate(trajectories):
        whole[row, mine] = 1.0
    limits = lil_array((len(intervals) + num_variables, num_variables))
    most = [0.0] * limits.shape[0]
    for row, ((kind, step), running) in enumerate(intervals.items()):
        limits[row, running] = 1.0
        for variable in running:
            limits[len(intervals) + variable, variable] = 1.0
            if kind == "wait":
                limits[len(intervals) + variable, step] = -1.0
            else:
                most[len(intervals) + variable] = train_s[step]
        if kind == "wait":
            limits[row, step] = -slots
        else:
            most[row] = slots * train_s[step]
    found = linprog(
        [1.0] * num_steps + [0.0] * (num_variables - num_steps),
        A_ub=limits.tocsr(),
        b_ub=most,
        A_eq=whole.tocsr(),
        b_eq=[duration_s for duration_s, _ in trajectories],
        bounds=[(0, None)] * num_variables,
    )
    assert found.success, found.message
    return float(found.fun) + sum(train_s)
