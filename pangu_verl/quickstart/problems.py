"""A seeded generator of short word problems whose answers are exact, as verl's parquet rows.

Two kinds: adding two amounts, and naming the larger of two. The untrained SmolLM2-135M-Instruct gets about three
in ten right when sampled. Invariant: no pair of operands (in either order) and no template is shared between training
and validation, so validation measures what was learnt and not what was seen.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd

Split = Literal["train", "validation"]

_THINGS = ("apples", "pens", "books", "coins", "cards", "eggs", "cups", "keys", "boxes", "stones", "shells", "stamps")
#: One pair of operands in three is for validation.
_VALIDATION_SHARE = 3
#: Draws in a row without a new problem after which there are taken to be no more.
_MOST_TRIES = 10_000


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of problem: its wording for each split, the range of its operands and how they make the answer."""

    name: str
    templates: dict[Split, tuple[str, ...]]
    smallest: int
    largest: int
    answer: Callable[[int, int], int]
    allows_equal_operands: bool

    def pairs(self, split: Split) -> list[tuple[int, int]]:
        """All ordered pairs of operands of a split. The order of a pair does not decide its split."""
        numbers = range(self.smallest, self.largest + 1)
        return [
            (a, b)
            for a in numbers
            for b in numbers
            if (a != b or self.allows_equal_operands) and _split_of(a, b) == split
        ]


def _split_of(a: int, b: int) -> Split:
    low, high = sorted((a, b))
    # A fixed scattering of the pairs: the same for every seed, so that no seed can mix the splits.
    return "validation" if (low * 7919 + high * 104729) % 1_000_003 % _VALIDATION_SHARE == 0 else "train"


KINDS = (
    Kind(
        name="sum",
        templates={
            "train": (
                "{a} {things} and {b} {things}: what is {a} + {b}? Answer with a number.",
                "What is {a} + {b} {things}? Answer with a number.",
                "Count the {things}: {a} + {b} is what? Answer with a number.",
            ),
            "validation": (
                "How many {things} is {a} + {b}? Answer with a number.",
                "Add the {things}: {a} + {b} = ? Answer with a number.",
            ),
        },
        smallest=1,
        largest=9,
        answer=lambda a, b: a + b,
        allows_equal_operands=True,
    ),
    Kind(
        name="larger",
        templates={
            "train": (
                "Which is the larger number of {things}, {a} or {b}? Reply with the number only.",
                "{a} {things} or {b} {things}, which is the bigger number? Reply with the number only.",
                "Which number is bigger, {a} or {b}? Reply with the number only.",
                "Here are {a} {things}, there {b} {things}. Name the larger number. Reply with the number only.",
                "Take the larger number: {a} {things} or {b} {things}? Reply with the number only.",
            ),
            "validation": (
                "Pick the bigger number of {things}: {a} or {b}? Reply with the number only.",
                "Two boxes of {things}: {a} and {b}. Which number is bigger? Reply with the number only.",
            ),
        },
        smallest=2,
        largest=99,
        answer=max,
        allows_equal_operands=False,
    ),
)


def problems(split: Split, count: int, seed: int) -> Iterator[dict[str, object]]:
    """``count`` different problems, the kinds in turn, as rows in verl's columns; ``ValueError`` if there are fewer."""
    draw = random.Random(f"{split} {seed}")
    pairs = {kind.name: kind.pairs(split) for kind in KINDS}
    seen: set[str] = set()
    tries = 0
    while len(seen) < count:
        kind = KINDS[len(seen) % len(KINDS)]
        a, b = draw.choice(pairs[kind.name])
        template = draw.choice(kind.templates[split])
        question = template.format(a=a, b=b, things=draw.choice(_THINGS))
        tries += 1
        if tries > _MOST_TRIES:
            raise ValueError(f"asked for {count} {split} problems, and hardly more than {len(seen)} differ")
        if question in seen:
            continue
        tries = 0
        yield {
            "data_source": f"word_problems_{kind.name}",
            "prompt": [{"role": "user", "content": question}],
            "ability": "math",
            "reward_model": {"style": "rule", "ground_truth": str(kind.answer(a, b))},
            "extra_info": {"split": split, "index": len(seen), "operands": [a, b]},
        }
        seen.add(question)


def write_problems(folder: Path, train_rows: int, validation_rows: int, seed: int) -> tuple[Path, Path]:
    """Write ``train.parquet`` and ``validation.parquet`` into ``folder`` and return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    train, validation = folder / "train.parquet", folder / "validation.parquet"
    pd.DataFrame(problems("train", train_rows, seed)).to_parquet(train)
    pd.DataFrame(problems("validation", validation_rows, seed)).to_parquet(validation)
    return train, validation
