"""The page of a soak."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from page_tags import Tags

from pangu_verl.report.soak import build_soak
from pangu_verl.simulate.soak.kills import Aim
from pangu_verl.simulate.soak.lives import LifeEnd

FOUND: dict[str, Any] = {
    "order": {"policy": "mask", "bound_versions": 2, "batch_groups": 4, "trajectories": 2, "samples": 800},
    "samples": 800,
    "steps": 100,
    "trained_groups": 400,
    "live_groups": 8,
    "abandoned_groups": 0,
    "taken_back_groups": 44,
    "trained_tokens": 123_456,
    "masked_tokens": 789,
    "max_trained_lag": 2,
    "kills": 3,
    "kills_by_aim": {"any_time": 2, "transaction": 1},
    "kills_in_transactions": 1,
    "other_ends": 0,
    "resumptions": 3,
    "of_resumptions": {"reopened_groups": 44},
    "of_lives": {"late_answers": 5},
    "breaches": {"tokens_over_bound": 0, "lost_prompts": 0, "prompts_trained_twice": 0, "disagreements": 0},
    "first_breach": None,
    "seconds": 12.5,
    "samples_per_s": 64.0,
}
KILLS: Sequence[tuple[Aim | None, int]] = (
    (Aim.ANY_TIME, 80),
    (Aim.TRANSACTION, 240),
    (Aim.ANY_TIME, 400),
    (None, 800),
)
ENDS = [
    LifeEnd(
        life=life,
        aim=aim,
        killed=aim and "any time",
        is_in_transaction=False,
        samples=samples,
        seconds=1.0,
    )
    for life, (aim, samples) in enumerate(KILLS)
]


def page_of(folder: Path, ends: list[LifeEnd] = ENDS, record: Any = None, **changes: Any) -> str:
    return build_soak(folder, {**FOUND, **changes}, ends, record or {}).read_text(encoding="utf-8")


def words_of(page: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", page.split("</style>")[1]).split())


def test_a_soak_that_holds_says_what_was_checked_and_counted(tmp_path: Path) -> None:
    page = page_of(tmp_path)
    words = words_of(page)
    for part in (
        "800 trajectories were trained on in 100 steps, over 3 kills of the process and 3 resumptions: no token over",
        "0 tokens over the bound were trained on",
        "0 prompts were trained on twice in the lineage",
        "largest lag 2 versions; bound 2",
        "reopened groups 44",
        "late answers 5",
        "trained tokens 123,456",
    ):
        assert part in words, part
    assert "banner" not in page.split("</style>")[1]
    assert Tags(page).depth == []
    assert page == page_of(tmp_path)


def test_a_breach_is_said_first_and_in_its_own_words(tmp_path: Path) -> None:
    evil = "life 2: <script>p7</script> was trained on twice"
    page = page_of(tmp_path, first_breach=evil, breaches={**FOUND["breaches"], "prompts_trained_twice": 1, "new": 2})
    words = words_of(page)
    assert "and something did not hold." in words
    assert "was trained on twice" in words
    assert '<strong class="wrong">1</strong> prompts were trained on twice' in page
    assert '<strong class="wrong">2</strong> new' in page
    assert not Tags(page).names & {"script"}


def test_without_kills_there_is_no_figure_of_them(tmp_path: Path) -> None:
    page = page_of(tmp_path, ends=ENDS[-1:], kills=0)
    assert "Kills over the run" not in page


def test_the_figure_has_a_mark_for_every_kill(tmp_path: Path) -> None:
    page = page_of(tmp_path)
    assert "Kills over the run" in page
    assert page.count("<use") >= 3
