"""A reward of your own: half a point for the right magnitude, a whole one for the right number."""

import re


def compute_score(data_source, solution_str, ground_truth, extra_info=None):
    """What verl calls for each trajectory; returns a number, or a dict whose "score" is one."""
    numbers = re.findall(r"-?\d+", solution_str)
    if not numbers:
        return {"score": 0.0, "found": 0.0}
    answer = int(numbers[-1])
    gold = int(ground_truth)
    score = 1.0 if answer == gold else 0.5 if abs(answer - gold) <= 1 else 0.0
    return {"score": score, "found": 1.0}
