"""Many rows at a time: the order of the input, a bound on what is held, and nothing left behind."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_plugins import HEADER, MakePlugin
from made_plugins import make_plugin as make_plugin
from reward_rows import Source, judges_of

from pangu_verl.errors import WrongUse
from pangu_verl.rewards.judges import NOBODY, in_order, judge_all, load_judges
from pangu_verl.types import RewardRow


def maths_row(**fields: str) -> RewardRow:
    return RewardRow(**{"id": "1", "domain": "math", "question": "", "response": "", "answer": "", **fields})


@settings(deadline=None)
@given(turns=st.lists(st.integers(0, 5), max_size=40), most_in_flight=st.integers(1, 8))
def test_results_come_in_the_order_of_rows_whatever_takes_longest(turns: list[int], most_in_flight: int) -> None:
    running = most_running = read = taken = most_held = 0

    def rows() -> Iterator[tuple[int, int]]:
        nonlocal read, most_held
        for number, turn in enumerate(turns):
            read += 1
            most_held = max(most_held, read - taken)
            yield number, turn

    async def work(row: tuple[int, int]) -> int:
        nonlocal running, most_running
        running += 1
        most_running = max(most_running, running)
        for _ in range(row[1]):
            await asyncio.sleep(0)
        running -= 1
        return row[0]

    async def collected() -> list[int]:
        nonlocal taken
        found = []
        async for result in in_order(rows(), work, most_in_flight=most_in_flight):
            taken += 1
            found.append(result)
        return found

    assert asyncio.run(collected()) == list(range(len(turns)))
    assert most_running <= most_in_flight
    assert most_held <= most_in_flight


async def test_closing_early_leaves_no_task() -> None:
    async def work(number: int) -> int:
        if number:
            await asyncio.Event().wait()
        return number

    results = in_order(range(10), work, most_in_flight=4)
    assert await anext(results) == 0
    await results.aclose()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_sources_are_closed_also_when_taking_a_result_fails() -> None:
    source = Source(lambda _: True)
    judges = judges_of(source)

    def take(_: object) -> None:
        raise OSError("no space")

    with pytest.raises(OSError, match="no space"):
        await judge_all(judges, [maths_row()], judges.judge, take)
    assert source.is_closed
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_domain_without_a_source_is_a_verdict() -> None:
    judged = await judges_of(Source(lambda _: True)).judge(maths_row(domain="code"))
    assert (judged.verdict.score, judged.verdict.passed, judged.verdict.source) == (None, None, NOBODY)
    assert "no reward source for domain 'code' (known: math)" in judged.verdict.reason


async def test_the_next_source_judges_what_the_first_cannot() -> None:
    judges = judges_of(Source(lambda _: None, name="first"), Source(lambda _: False, name="second"))
    judged = await judges.judge(maths_row())
    assert (judged.verdict.source, judged.verdict.passed) == ("second", False)
    assert [opinion.source for opinion in judged.opinions] == ["first", "second"]


# --- the installed plugins ---------------------------------------------------------------------------------------------


def test_sources_are_chosen_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PANGU_VERL_PLUGINS", "mars")
    assert set(load_judges("maths, choice").ladders) == {"math", "choice"}
    assert {"math", "choice", "general"} <= set(load_judges(None).ladders)


@pytest.mark.parametrize(
    ("sources", "expected"),
    [("nobody", "no reward source 'nobody'"), (" , ", "names no reward source"), ("maths,maths", "twice")],
)
def test_a_wrong_choice_is_named(monkeypatch: pytest.MonkeyPatch, sources: str, expected: str) -> None:
    monkeypatch.setenv("PANGU_VERL_PLUGINS", "mars")
    with pytest.raises(WrongUse, match=expected):
        load_judges(sources)


def test_a_plugin_that_failed_is_named(make_plugin: MakePlugin) -> None:
    make_plugin("made", "import no_such_module")
    with pytest.raises(WrongUse, match="plugin 'made'"):
        load_judges(None)


def test_a_domain_that_two_sources_claim_asks_for_a_choice(
    make_plugin: MakePlugin, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = make_plugin(header=HEADER.replace("poems", "math"))
    monkeypatch.setenv("PANGU_VERL_PLUGINS", f"mars,{name}")
    with pytest.raises(WrongUse, match="--sources a,b"):
        load_judges(None)
    assert [source.name for source in load_judges("made,maths").ladders["math"].rungs] == ["made", "maths"]
