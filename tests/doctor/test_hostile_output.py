"""Whatever a program prints, reading it raises nothing and shows one clean line."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pangu_verl.doctor import ascend, boot
from pangu_verl.doctor.child import last_json, quoted
from pangu_verl.integrations.verl.boot_probe import MARK

TEXT = st.text(max_size=400)


@given(TEXT)
def test_a_quote_of_any_text_is_one_bounded_printable_line(text: str) -> None:
    shown = quoted(text)
    assert len(shown) <= 300 and (shown == "" or shown.isprintable())


@given(TEXT)
def test_any_text_can_be_asked_for_json(text: str) -> None:
    last_json(text)


@given(st.lists(st.one_of(TEXT, TEXT.map(lambda text: MARK + text)), max_size=5))
def test_any_lines_can_be_read_as_the_boot_programs(lines: list[str]) -> None:
    assert all(isinstance(entry, dict) for entry in boot._parts("\n".join(lines)).values())


@given(st.one_of(TEXT, st.from_regex(r"\d{1,6}(\.[\da-z]{1,5}){0,4}", fullmatch=True)))
def test_any_version_can_be_parsed(text: str) -> None:
    ascend._parsed(text)
