"""The page: what it says, that it needs nothing else, and that hostile text stays text."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

import pytest
from page_tags import Tags

from pangu_verl.errors import WrongUse
from pangu_verl.report import build_report
from pangu_verl.report.page import fold

EVIL = "<script>alert(1)</script></pre></details><img src=x onerror=alert(2)> {{ 7*7 }} \" ' &amp; 😀 \x00\u202e $x^2$"


def page_of(folder: Path) -> str:
    path = build_report(folder)
    assert path == folder / "report.html"
    return path.read_text(encoding="utf-8")


def test_outcome_is_one_plain_sentence(whole_run: Path) -> None:
    page = page_of(whole_run)
    assert "Accuracy on 40 validation rows went from 0.30 to 0.65: +35 points, 95% interval 16 to 52." in page
    assert "16 were fixed, 2 were broken" in page
    assert (
        "Among the 31 rows that could be read both times the gain is +19 points, 95% interval \N{MINUS SIGN}1 to 39."
        in page
    )


def test_page_shows_figures_tables_and_facts(whole_run: Path) -> None:
    page = page_of(whole_run)
    for part in (
        "Reward and validation accuracy",
        "Format failures and answer length",
        "Entropy and gradient norm",
        "Time per step",
        "a processor",
        "0a1b2c3",
        "10 min 0 s",
        "20% → 0%",  # cut off at the 40 tokens of the command
        "50 tokens per busy second",
        "metrics.jsonl",
        "Tango",
    ):
        assert part in page
    assert page.count('<svg role="img" aria-label=') == 4
    assert "This run" not in page  # no banner


def test_page_is_well_formed_and_needs_nothing_else(whole_run: Path) -> None:
    page = page_of(whole_run)
    tags = Tags(page)
    assert tags.depth == []
    assert not tags.names & {"script", "img", "link", "iframe", "object", "embed", "base", "form"}
    addresses = [value or "" for name, value in tags.attributes if name in ("href", "src", "xlink:href")]
    assert all(address.startswith(("./", "#")) for address in addresses)
    assert not re.search(r"url\((?!#)|@import", page)
    assert "prefers-color-scheme: dark" in page


def test_same_folder_gives_the_same_page(whole_run: Path) -> None:
    assert page_of(whole_run) == page_of(whole_run)
    assert sorted(path.name for path in whole_run.iterdir()) == [
        "metrics.jsonl",
        "report.html",
        "run.json",
        "validation",
    ]


def test_hostile_text_stays_text_wherever_it_stands(runs: Any) -> None:
    more = {"output": EVIL, "gts": EVIL, "reason": EVIL, "data_source": EVIL}
    before = [runs.row(f"{EVIL}{index}", index % 2 == 0, **more) for index in range(8)]
    after = [runs.row(f"{EVIL}{index}", index % 3 == 0, **more) for index in range(8)]
    facts = {"name": EVIL, "status": "failed", "failure": EVIL, "command": [EVIL], "versions": {EVIL: EVIL}}
    facts |= {"model": EVIL, "seed": {EVIL: EVIL}, "machine": {"processor": EVIL}, "commit": EVIL}
    metrics = [runs.training_line(1, **{f"val-core/{EVIL}/reward/mean@1": 0.5})]
    folder = runs.make(facts=facts, metrics=metrics, validation={0: before, 8: after})
    (folder / "a <b> & 'c'.txt").write_text("")
    page = page_of(folder)
    tags = Tags(page)
    assert tags.depth == []
    assert not tags.names & {"script", "img", "b"}
    assert not [name for name, _ in tags.attributes if name.startswith("on")]
    assert "\x00" not in page and "\u202e" not in page
    assert "{{ 7*7 }}" in page and "😀" in page


def test_hostile_source_names_of_metrics_stay_text(runs: Any) -> None:
    metrics = [{"step": step, "data": {f"val-core/{EVIL}/reward/mean@1": 0.5}} for step in (0, 4)]
    page = page_of(runs.make(metrics=metrics))
    assert "0.50 (step 4)" in page
    assert not Tags(page).names & {"script", "img"}


def test_lone_surrogates_do_not_break_the_page(runs: Any) -> None:
    text = '{"input":"a","output":"\\ud800 x","passed":true,"format_failure":0}\n'
    assert "\N{REPLACEMENT CHARACTER} x" in page_of(runs.make(validation={0: text, 4: text}))


def test_long_answers_are_folded_and_cut(runs: Any) -> None:
    rows = [runs.row("a", True, output="y" * 100_000)]
    page = page_of(runs.make(validation={0: rows, 4: rows}))
    assert "(100,000 characters)" in page
    assert "80,000 more characters in validation/4.jsonl." in page
    assert len(page) < 200_000


@pytest.mark.parametrize(("text", "is_folded"), [("short", False), ("x" * 601, True), ("\n" * 14, True), ("", False)])
def test_only_long_text_is_folded(text: str, is_folded: bool) -> None:
    assert (fold(text).preview is not None) == is_folded


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        ("interrupted", "This run was interrupted."),
        ("failed", "This run failed."),
        ("running", "This run had not ended"),
        (None, "It is unknown whether"),
    ],
)
def test_unfinished_run_has_a_banner_with_reason_and_resume(runs: Any, status: str | None, sentence: str) -> None:
    command = ["pangu-verl", "train", "model=" + "x" * 90]
    folder = runs.make(facts={"command": command, "status": status, "failure": "out of memory"})
    page = page_of(folder)
    assert sentence in page
    assert "out of memory" in page
    assert "pangu-verl \\\n  train \\\n  model=xxx" in page
    assert "\n  --resume \\\n  --run-dir \\\n  " in page
    assert str(folder) in page


BARE_METRICS: list[object] = ["", [], [{"step": 0, "data": {}}], [{"step": 1, "data": {"a": 1}}]]
BARE_FACTS: list[object] = ["{", {}, {"status": "failed"}]


@pytest.mark.parametrize(
    ("facts", "metrics"),
    [*itertools.product(BARE_FACTS, BARE_METRICS), *[(facts, None) for facts in BARE_FACTS], (None, [])],
)
def test_page_is_made_of_whatever_is_there(runs: Any, facts: object, metrics: object) -> None:
    page = page_of(runs.make(facts=facts, metrics=metrics))
    assert "Nothing can be said of accuracy" in page
    assert "unknown" in page
    assert ">None<" not in page and "nan" not in page


def test_gain_that_may_be_chance_is_called_so(runs: Any) -> None:
    before, after = ([runs.row(f"q{index}", index in right) for index in range(9)] for right in ({1, 2}, {2, 3, 4}))
    assert "The interval includes 0: this run alone does not show" in page_of(
        runs.make(validation={0: before, 4: after})
    )


def test_run_without_validation_speaks_of_reward(runs: Any) -> None:
    assert "Training reward went from 0.31 at step 1 to 0.34 at step 4" in page_of(runs.make())


def test_only_a_first_validation_so_far(runs: Any) -> None:
    page = page_of(runs.make(validation={0: [runs.row("a", True)]}))
    assert "Accuracy before training was 1.00 on 1 validation row; there is no validation after training yet." in page


def test_without_entropy_and_gradient_norm_their_figure_is_left_out(runs: Any) -> None:
    page = page_of(runs.make(metrics=[{"step": 1, "data": {"critic/score/mean": 0.5}}]))
    assert "Entropy and gradient norm" not in page
    assert page.count("<svg role") == 1


def test_gradient_norm_alone_is_called_so(runs: Any) -> None:
    page = page_of(runs.make(metrics=[{"step": 1, "data": {"actor/grad_norm": 0.0, "response_length/mean": 0.0}}]))
    assert "<h3>Gradient norm</h3>" in page


def test_agreement_of_rollout_and_trainer_is_shown_at_its_worst(runs: Any) -> None:
    keys = ("training/rollout_probs_diff_max", "training/rollout_actor_probs_pearson_corr")
    lines = [runs.training_line(1, **dict(zip(keys, (0.1, 0.97), strict=True)))]
    lines += [runs.training_line(2, **dict(zip(keys, (0.02, 0.9999), strict=True)))]
    page = page_of(runs.make(metrics=lines))
    assert "probability 0.1<" in page
    assert "0.9700 at the worst step" in page


def test_long_run_is_drawn_in_few_bars(runs: Any) -> None:
    page = page_of(runs.make(metrics=[runs.training_line(step) for step in range(1, 1201)]))
    assert "Each bar is the mean of 20 steps." in page
    assert len(page) < 400_000


def test_wrong_folder_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(WrongUse):
        build_report(tmp_path)
    assert list(tmp_path.iterdir()) == []
