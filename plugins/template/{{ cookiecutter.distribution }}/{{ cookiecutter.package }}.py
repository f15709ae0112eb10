"""A reward for pangu_verl: how close the last number of an answer is to the gold number."""

import re

from pangu_verl.hookspecs import hookimpl
from pangu_verl.types import RewardRow, Verdict


class Closeness:
    """1 for the right number, less the further off; passed only if right."""

    name = "{{ cookiecutter.reward }}"
    domains = frozenset({"{{ cookiecutter.domain }}"})

    async def judge(self, row: RewardRow) -> Verdict:
        gold = re.search(r"-?\d+", row.ground_truth or "")
        if gold is None:
            return Verdict(score=None, passed=None, reason="the gold is no number", source=self.name)
        numbers = re.findall(r"-?\d+", row.answer)
        if not numbers:
            return Verdict(score=0.0, passed=False, reason="no number found", source=self.name)
        distance = abs(int(numbers[-1]) - int(gold[0]))
        return Verdict(score=1 / (1 + distance), passed=distance == 0, reason=f"off by {distance}", source=self.name)


@hookimpl
def register_reward_sources(register):
    register(Closeness())
