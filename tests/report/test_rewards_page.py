"""The page's section on rewards: what it says, and that hostile text stays text."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from page_tags import Tags

from pangu_verl.report import build_report, build_side_by_side

EVIL = "<script>alert(1)</script></td></table><img src=x onerror=alert(2)> {{ 7*7 }} \" ' &amp; 😀 \x00\u202e $x^2$"


def page_of(folder: Path) -> str:
    return build_report(folder).read_text(encoding="utf-8")


def section_of(folder: Path) -> str:
    """The section's text as it is read, without markup."""
    page = page_of(folder)
    found = page[page.index('<section class="rewards">') : page.index("</section>")]
    return " ".join(re.sub(r"<svg.*?</svg>|<[^>]*>", " ", found, flags=re.DOTALL).split())


def mixed_run(runs: Any) -> Path:
    """Maths with a judge on its second rung, code, and instructions that are unjudged."""
    auxiliary = {"auxiliary": {"length": -0.125}}
    step = {"rewards/maths/rows": 4.0, "rewards/maths/score": 0.5, "rewards/maths/judged_share": 0.75}
    verdicts = [
        runs.verdict("maths", True, breakdown={"maths": {"score": 1.0}, **auxiliary}),
        runs.verdict(
            "maths",
            False,
            id="row 3",
            opinions=[runs.opinion("maths", False), runs.opinion("judge", True, is_audit=True, reason="it is 1/2")],
        ),
        runs.verdict(
            "judge", True, opinions=[runs.opinion("maths", None, reason="no number"), runs.opinion("judge", True)]
        ),
        runs.verdict("code", True, "code", seconds=1.26),
        runs.verdict("ifeval", None, "instructions", reason="unknown check 'x'", opinions=[]),
    ]
    change = {"at": "2026-08-22T10:11:12+00:00", "source": "maths", "domain": "maths"}
    change |= {"before": "trusted", "after": "rejects escalated", "reason": "12 of 90 rejects were wrong"}
    rate = {"source": "maths", "domain": "maths", "claim": "reject", "origin": "audit", "audited": 90, "wrong": 12}
    folder: Path = runs.make(metrics=[runs.training_line(1, **step)])
    reliability = {"rates": [{**rate, "low": 0.078, "high": 0.218}]}
    return Path(runs.add_rewards(folder, verdicts, [change], reliability))


def test_a_run_without_rewards_has_no_section_of_them(whole_run: Path) -> None:
    page = page_of(whole_run)
    assert "<h2>Rewards</h2>" not in page
    assert 'class="rewards"' not in page


def test_the_section_shows_sources_reasons_disagreements_rates_and_changes(runs: Any) -> None:
    section = section_of(mixed_run(runs))
    for part in (
        "1 of 5 answers (20%) could not be judged. On 1 row two sources disagreed",
        "maths maths 2 2 0% 50% 0.500 2.0 ms 2.0 ms",
        "code code 1 1 0% 100% 1.000 1.3 s 1.3 s",
        "ifeval instructions 1 0 100% unknown unknown 2.0 ms 2.0 ms",
        "Mean score by source",
        "Share judged by source",
        "maths maths 0.500 0.500 \N{MINUS SIGN}0.125",
        "judge maths 2 1 0% 100% 1",
        "ifeval unknown check … 1 0",
        "maths no number 0 1",
        "judge maths 1 1 (100%) 1 0",
        "The rows on which sources disagreed",
        "row 3 maths maths (counted) not passed compared judge (audit) passed it is 1/2",
        "maths maths false rejects audit 90 12 13% 7.8% to 22%",
        "2026-08-22 10:11:12 UTC maths maths trusted rejects escalated 12 of 90 rejects were wrong",
    ):
        assert part in section, part
    assert "nan" not in section
    assert "None" not in section


def test_a_trail_without_anything_in_it_says_so(runs: Any) -> None:
    assert section_of(runs.add_rewards(runs.make())) == "Rewards No verdict was written yet."


def test_the_page_is_well_formed_and_the_same_every_time(runs: Any) -> None:
    folder = mixed_run(runs)
    page = page_of(folder)
    assert Tags(page).depth == []
    assert page == page_of(folder)
    names = re.findall(r' id="([^"]*)"', page)
    assert len(names) == len(set(names))


def test_hostile_text_stays_text_wherever_it_stands(runs: Any) -> None:
    opinions = [runs.opinion(EVIL, True, reason=EVIL), runs.opinion(f"{EVIL}2", False, reason=EVIL)]
    opinions += [runs.opinion(f"{EVIL}3", None, reason=EVIL)]
    breakdown = {EVIL: {"score": 1.0}, "auxiliary": {EVIL: 0.5}, "format_gate": {"fault": EVIL}}
    verdict = runs.verdict(EVIL, True, EVIL, id=EVIL, opinions=opinions, breakdown=breakdown, reason=EVIL)
    change = dict.fromkeys(("at", "source", "domain", "before", "after", "reason"), EVIL)
    rate = {"source": EVIL, "domain": EVIL, "claim": "accept", "origin": EVIL, "audited": 1, "wrong": 0}
    data = {f"rewards/{EVIL}/{key}": 1.0 for key in ("rows", "score", "judged_share")}
    folder = runs.make(metrics=[{"step": 1, "data": data}])
    runs.add_rewards(folder, [verdict, runs.verdict(EVIL, None, reason=EVIL)], [change], {"rates": [rate]})
    side = build_side_by_side([folder], folder.parent / "runs.html").read_text(encoding="utf-8")
    for page in (page_of(folder), side):
        tags = Tags(page)
        assert tags.depth == []
        assert not tags.names & {"script", "img"}
        assert not [name for name, _ in tags.attributes if name.startswith("on")]
        assert "\x00" not in page and "\u202e" not in page
        assert "alert(1)" in page


def test_text_without_end_is_cut(runs: Any) -> None:
    endless = "word " * 200_000
    opinions = [runs.opinion("a", True, reason=endless), runs.opinion("b", False, reason=endless)]
    change = {"at": endless, "source": endless, "domain": endless, "before": endless, "after": endless}
    folder = runs.add_rewards(
        runs.make(metrics=[]),
        [runs.verdict("a", True, endless, id=endless, opinions=opinions)] * 30,
        [{**change, "reason": endless}],
    )
    page = page_of(folder)
    assert "The first 20 of 30 rows on which sources disagreed" in page
    assert len(page) < 150_000


def test_malformed_lines_are_said_among_the_notes(runs: Any) -> None:
    folder = runs.add_rewards(runs.make(), "{}\n")
    note = "rewards/verdicts.jsonl: 1 malformed line(s) left out (the first is line 1)."
    assert note in page_of(folder)
    assert note in build_side_by_side([folder], folder.parent / "runs.html").read_text(encoding="utf-8")
