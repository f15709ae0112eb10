"""What is known of prompts that come again: found by what is asked, over checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pangu_verl.errors import RunFailed
from pangu_verl.integrations.verl.scheduling.known_prompts import KnownPrompts

ASKED: list[Any] = [{"role": "user", "content": "1 + 1?"}]
OTHER: list[Any] = [{"role": "user", "content": "2 + 2?"}]


def taught() -> KnownPrompts:
    known = KnownPrompts(10)
    known.record("sums", known.row_of("sums", ASKED, 0), [True, True], [100, 200])
    known.record("sums", known.row_of("sums", OTHER, 1), [False, None], [10, 20])
    return known


def test_a_prompt_is_the_same_one_when_it_comes_again() -> None:
    known = taught()
    assert known.row_of("sums", ASKED, 0) == 0
    assert known.row_of("sums", OTHER, 1) == 1


@pytest.mark.parametrize("asked", [("maths", ASKED, 0), ("sums", ASKED, 7), ("sums", [], 0)])
def test_another_task_index_or_question_is_another_prompt(asked: tuple[str, object, object]) -> None:
    assert taught().row_of(*asked) == 2


def test_what_came_of_it_before_says_what_to_expect() -> None:
    known = taught()
    asked, other = known.estimate("sums", 0), known.estimate("sums", 1)
    assert None not in (asked.pass_rate, asked.expected_tokens, other.pass_rate, other.expected_tokens)
    assert asked.pass_rate > other.pass_rate  # type: ignore[operator]
    assert asked.expected_tokens > other.expected_tokens  # type: ignore[operator]


def test_a_prompt_beyond_the_size_of_the_data_is_expected_to_be_as_its_task() -> None:
    known = KnownPrompts(0)
    assert known.row_of("sums", ASKED, 0) is None
    known.record("sums", None, [True], [100])
    assert known.estimate("sums", None).expected_tokens == 100.0


def test_a_checkpoint_knows_the_same(tmp_path: Path) -> None:
    taught().save(tmp_path / "known.json")
    known = KnownPrompts.load(tmp_path / "known.json", 10)
    assert known.row_of("sums", OTHER, 1) == 1
    assert [known.estimate("sums", row) for row in (0, 1, None)] == [
        taught().estimate("sums", row) for row in (0, 1, None)
    ]
    assert known.row_of("sums", [], 2) == 2


@pytest.mark.parametrize(
    "text", ["", "[]", '{"prompts": [], "history": {}}', '{"prompts": ["a", "a"], "history": 1}', "[" * 10_000]
)
def test_a_damaged_file_is_refused_by_name(tmp_path: Path, text: str) -> None:
    file = tmp_path / "known.json"
    file.write_text(text)
    with pytest.raises(RunFailed, match=r"known\.json is no history of prompts"):
        KnownPrompts.load(file, 10)


def test_a_prompt_that_comes_twice_in_a_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "known.json"
    taught().save(file)
    file.write_text(file.read_text().replace('"prompts": [', '"prompts": ["a", "a", '))
    with pytest.raises(RunFailed, match="a prompt comes twice"):
        KnownPrompts.load(file, 10)


def test_what_is_known_has_room_for_the_prompts_of_other_data(tmp_path: Path) -> None:
    taught().save(tmp_path / "known.json")
    known = KnownPrompts.load(tmp_path / "known.json", 1)
    assert [known.row_of("maths", question, 0) for question in ("1?", "2?")] == [2, None]
    assert known.row_of("sums", ASKED, 0) == 0


def test_text_that_is_no_unicode_is_a_prompt_as_well() -> None:
    assert KnownPrompts(1).row_of("sums", [{"content": "\ud800"}], 0) == 0


def test_a_picture_is_the_same_one_when_it_comes_again() -> None:
    class Picture:
        pass

    known = KnownPrompts(2)
    rows = [known.row_of("sums", [{"content": Picture(), ("no", "text"): 1}], 0) for _ in range(2)]
    assert rows == [0, 0]
