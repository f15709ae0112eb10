"""Writes rows of three kinds (maths, code, instruction following) as verl's parquet, each judged by its own source.

    python examples/mixed_rewards/rows.py FOLDER [--train 240] [--validation 48] [--seed 0]

``ability`` says which source judges a row. What a source needs beside the gold answer stands in ``extra_info`` as JSON
text, because its shape differs from row to row: ``tests`` for code, ``checks`` for instructions.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd

from pangu_verl.quickstart.problems import Split, problems

OPERATIONS: dict[str, tuple[str, Callable[[int, int], int]]] = {
    "add": ("the sum of x and {number}", lambda x, number: x + number),
    "subtract": ("x minus {number}", lambda x, number: x - number),
    "multiply": ("x times {number}", lambda x, number: x * number),
    "larger": ("the larger of x and {number}", lambda x, number: max(x, number)),
}
TASKS = ("Name three {things}.", "Write one sentence about {things}.", "Say what {things} are good for.")
THINGS = (
    "apples",
    "boats",
    "bridges",
    "cats",
    "clouds",
    "drums",
    "gardens",
    "lamps",
    "maps",
    "rivers",
    "songs",
    "trees",
)
CHECKS = (
    ("Use no commas.", {"id": "punctuation:no_comma"}),
    ("Use lowercase letters only.", {"id": "change_case:english_lowercase"}),
    ("Put the whole answer in double quotation marks.", {"id": "startend:quotation"}),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where train.parquet and validation.parquet are written")
    parser.add_argument("--train", type=int, default=240, help="rows to train on")
    parser.add_argument("--validation", type=int, default=48, help="rows to validate on")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    counts: dict[Split, int] = {"train": arguments.train, "validation": arguments.validation}
    for split, count in counts.items():
        path = arguments.folder / f"{split}.parquet"
        pd.DataFrame(rows(split, count, arguments.seed)).to_parquet(path)
        print(path)


def rows(split: Split, count: int, seed: int) -> Iterator[dict[str, object]]:
    """``count`` rows, the three kinds in turn."""
    draw = random.Random(f"{split} {seed}")
    kinds = (problems(split, count, seed), code_rows(split, draw), instruction_rows(split, draw))
    mixed = (row for of_each_kind in zip(*kinds, strict=False) for row in of_each_kind)
    for index, row in enumerate(itertools.islice(mixed, count)):
        extra = row["extra_info"]
        assert isinstance(extra, dict)
        extra = {name: extra.get(name) for name in ("tests", "checks")}
        yield {**row, "extra_info": {**extra, "index": index, "split": split}}


def code_rows(split: Split, draw: random.Random) -> Iterator[dict[str, object]]:
    """Functions of one argument. Numbers of validation are not those of training."""
    first = 2 if split == "train" else 3
    while True:
        name, (wording, function) = draw.choice(list(OPERATIONS.items()))
        number = draw.randrange(first, 100, 2)
        inputs = draw.sample(range(-50, 150), 4)
        yield {
            "data_source": f"functions_{name}",
            "prompt": _prompt(
                f"Write a Python function solve(x) that returns {wording.format(number=number)}. Reply with code only."
            ),
            "ability": "code",
            "reward_model": {"style": "rule", "ground_truth": None},
            "extra_info": {
                "tests": json.dumps(
                    [
                        {"kind": "call", "entry_point": "solve", "args": [value], "expected": function(value, number)}
                        for value in inputs
                    ]
                )
            },
        }


def instruction_rows(split: Split, draw: random.Random) -> Iterator[dict[str, object]]:
    """A small task with one demand that can be checked. Things of validation are not those of training."""
    things = THINGS[::2] if split == "train" else THINGS[1::2]
    while True:
        demand, check = draw.choice(CHECKS)
        task = draw.choice(TASKS).format(things=draw.choice(things))
        yield {
            "data_source": f"instructions_{check['id'].partition(':')[0]}",
            "prompt": _prompt(f"{task} {demand}"),
            "ability": "instruction",
            "reward_model": {"style": "rule", "ground_truth": None},
            "extra_info": {"checks": json.dumps([check])},
        }


def _prompt(question: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": question}]


if __name__ == "__main__":
    main()
