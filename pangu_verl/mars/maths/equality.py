"""Whether two answers are equal in meaning, whatever their shape; for use inside a killable child process only.

Invariant: True and False are claims, None is "not understood". Each rule looks at one pair of shapes and gives None
for any other; the first that claims something decides. Naming several values is never equal to one value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from fractions import Fraction

from pangu_verl.mars.literal import is_denied, normal_form
from pangu_verl.mars.maths import expressions, shapes
from pangu_verl.mars.maths.labels import Member, in_order, members, points_once, tuple_equations, without_common_labels
from pangu_verl.mars.maths.matching import all_of, matched
from pangu_verl.mars.maths.precision import Request, numbers_match
from pangu_verl.mars.maths.regions import read_region, same_region
from pangu_verl.mars.maths.renaming import renamings
from pangu_verl.mars.maths.repair import mended
from pangu_verl.mars.maths.values import (
    BRACKETS,
    ascending,
    bare,
    bracketed,
    coordinates,
    exact_value,
    is_value,
    number_of,
    value_of,
)
from pangu_verl.mars.maths.words import number_in_words

DEEPEST = 6

_DEGREE = re.compile(r"\^\s*\{?\s*\\circ\s*\}?")
_BASED = re.compile(r"\(?([0-9A-Z]+)\)?_\{?(?:\\text\s*\{)?\s*([a-z]+|[0-9]{1,2})\s*\}{0,2}")
_CLOCK = re.compile(r"[0-9]{1,2}:[0-9]{2}")
_APPROXIMATELY = re.compile(r"\\(?:approx|simeq|doteq)(?![a-zA-Z])|≈")
_SYMBOL_OR_NUMBER = re.compile(r"\\?[a-zA-Z]+(?:_\{?[0-9a-zA-Z]\}?)?|[-+]?[0-9.]+")
_FUNCTION = re.compile(r"[a-zA-Z]\([a-z]\)")
_LOOSE_SPACE = re.compile(r"(?<![0-9]) | (?![0-9])")  # "1 2" is not 12
_CONTRADICTION = Fraction(1, 100)

Rule = Callable[[str, str], bool | None]


def same_meaning(gold: str, answer: str, question: str, request: Request) -> bool | None:
    """Whether an answer means what the gold means, with the letters that it may choose chosen anew."""
    gold, answer = mended(gold), mended(answer)
    if shapes.num_cases(answer) > 1 >= shapes.num_cases(gold):
        return False  # a value for each case, of which a clause would leave one
    gold, answer = bare(gold), bare(answer)
    if gold and not answer:
        return False  # nothing that shows, as in a phantom
    finding = Comparison(request).same(gold, answer)
    if finding is not True and any(
        Comparison(request).same(gold, renamed) for renamed in renamings(gold, answer, mended(question))
    ):
        return True
    if finding is None and shapes.says_more(answer) and not shapes.says_more(gold):
        return False
    return finding


class Comparison:
    """The rules, for one question. Texts are such as ``repair.mended`` returns."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._depth = 0
        self._rules: Sequence[Rule] = (
            self._by_clock_or_base,
            self._by_approximation,
            self._by_region,
            self._by_order,
            self._by_matrix,
            self._by_ratio,
            self._by_members,
            self._by_brackets,
            self._by_relation,
            self._by_degrees,
            self._by_formula,
        )

    def same(self, gold: str, answer: str) -> bool | None:
        if self._depth > DEEPEST:
            return None
        self._depth += 1
        try:
            return self._same(bare(gold), bare(answer))
        finally:
            self._depth -= 1

    def _same(self, gold: str, answer: str) -> bool | None:
        if not gold or not answer:
            return None
        if _LOOSE_SPACE.sub("", normal_form(gold)) == _LOOSE_SPACE.sub("", normal_form(answer)):
            return True
        if is_denied(answer) != is_denied(gold) and r"\ne" not in gold + answer:
            return False
        gold_number, answer_number = number_of(gold), number_of(answer)
        if gold_number is not None and answer_number is not None:
            return numbers_match(gold_number, answer_number, self._request)
        findings = (rule(gold, answer) for rule in self._rules)
        return next((finding for finding in findings if finding is not None), None)

    def _each(self, golds: Sequence[str], answers: Sequence[str]) -> bool | None:
        if len(golds) != len(answers):
            return False
        return all_of(self.same(*pair) for pair in zip(golds, answers, strict=True))

    def _by_clock_or_base(self, gold: str, answer: str) -> bool | None:
        if _CLOCK.fullmatch(gold) and _CLOCK.fullmatch(answer):
            return gold.lstrip("0") == answer.lstrip("0")
        gold_based, answer_based = _BASED.fullmatch(gold), _BASED.fullmatch(answer)
        if gold_based is None:
            return None
        if answer_based is None:
            return answer == gold_based[1] or None
        return (gold_based[1], _base(gold_based[2])) == (answer_based[1], _base(answer_based[2]))

    def _by_approximation(self, gold: str, answer: str) -> bool | None:
        """The exact side decides, of a gold also the rounded one."""
        golds, answers = _APPROXIMATELY.split(gold), _APPROXIMATELY.split(answer)
        if len(golds) == len(answers) == 1:
            return None
        stated = answers[1] if len(answers) > 1 and shapes.is_label(answers[0]) else answers[0]
        findings = [self.same(side, stated) for side in golds if side.strip()]
        return True if True in findings else False if False in findings else None

    def _by_region(self, gold: str, answer: str) -> bool | None:
        first, second = read_region(gold), read_region(answer)
        if first is None or second is None or (first.bare and second.bare):
            return None
        if first.is_point and second.is_point:
            return None  # a value on each side
        return same_region(first, second, self.same, exact_value)

    def _by_order(self, gold: str, answer: str) -> bool | None:
        """ "b < a < c" is the order "b, a, c"; "c > a" is "a < c"."""
        first, second = ascending(gold), ascending(answer)
        if first is None:
            return None
        if second is not None:
            if first.operators != second.operators:
                return None
            if len(first.sides) > 2 and all(map(_SYMBOL_OR_NUMBER.fullmatch, first.sides + second.sides)):
                return first.sides == second.sides
            return self._each(first.sides, second.sides) or None  # "-1 < -x" may still be "x < 1"
        written, listed = shapes.relation(gold), tuple(shapes.split_list(answer))
        if written is None or len(listed) < 3 or set(first.operators) != {"<"} or len(listed) != len(written.sides):
            return None
        return listed == written.sides if all(map(_SYMBOL_OR_NUMBER.fullmatch, listed)) else None

    def _by_matrix(self, gold: str, answer: str) -> bool | None:
        tables = [shapes.matrix_rows(text) for text in (gold, answer)]
        if tables == [None, None]:
            return None
        first, second = (
            rows if rows is not None else [parts] if (parts := coordinates(text)) else None
            for rows, text in zip(tables, (gold, answer), strict=True)
        )
        if first is None or second is None:
            return None
        if None in tables:  # a tuple stands for a row or a column
            first, second = _as_row(first), _as_row(second)
        if [len(row) for row in first] != [len(row) for row in second]:
            return False
        return self._each([cell for row in first for cell in row], [cell for row in second for cell in row])

    def _by_ratio(self, gold: str, answer: str) -> bool | None:
        golds, answers = (shapes.split_at(text, {":"}) for text in (gold, answer))
        if len(golds) < 3 or len(golds) != len(answers):
            return None
        return all_of(
            expressions.same(rf"({one}) \times ({answers[0]})", rf"({other}) \times ({golds[0]})")
            for one, other in zip(golds[1:], answers[1:], strict=True)
        )

    def _by_members(self, gold: str, answer: str) -> bool | None:
        golds, answers = members(gold), members(answer)
        if golds is not None and answers is not None:
            return self._same_members(golds, answers)
        if golds is not None:
            return self._members_of_single(golds, answer, lambda parts: self._same_members(golds, parts))
        if answers and all(self.same(gold, member.value) for member in answers):
            return True  # one value written in several ways: "1/2 or 0.5"
        if answers is not None:
            return self._members_of_single(answers, gold, lambda parts: self._same_members(parts, answers))
        return None

    def _members_of_single(
        self, listed: list[Member], single: str, same: Callable[[list[Member]], bool | None]
    ) -> bool | None:
        """A list against one tuple or one value."""
        parts = coordinates(single) if not shapes.is_half_open(single) else None
        if parts is not None and len(parts) == len(listed) and not any(bracketed(member.value) for member in listed):
            return same([Member(part, is_placed=True) for part in parts])
        if len(listed) == 1:
            return same([Member.of(single)])
        return False if is_value(Member.of(single).value) else None

    def _same_members(self, golds: list[Member], answers: list[Member]) -> bool | None:
        if max(len(golds), len(answers)) > shapes.MOST_PARTS:
            return None
        golds, answers = without_common_labels(golds), points_once(golds, without_common_labels(answers))
        if len(golds) != len(answers):
            return False
        if in_order(golds, answers):
            return all_of(self._same_member(*pair) for pair in zip(golds, answers, strict=True))
        return matched(golds, answers, self._same_member)

    def _same_member(self, gold: Member, answer: Member) -> bool | None:
        if gold.label and answer.label and gold.label != answer.label:
            return False
        return self.same(gold.value, answer.value)

    def _by_brackets(self, gold: str, answer: str) -> bool | None:
        for opening, closing in BRACKETS:
            first, second = (shapes.inside(text, opening, closing) for text in (gold, answer))
            if first is not None and second is not None:
                return self._each(shapes.split_at(first, {",", ";"}), shapes.split_at(second, {",", ";"}))
        return False if coordinates(gold) and coordinates(answer) else None

    def _by_relation(self, gold: str, answer: str) -> bool | None:
        first, second = shapes.relation(gold), shapes.relation(answer)
        if any(found is not None and set(found.operators) != {"="} for found in (first, second)):
            return None
        if members(gold) is not None or members(answer) is not None:
            return None
        if first is not None and second is not None:
            return self._same_equations(first.sides, second.sides)
        if first is not None:
            stated = self._stated_value(first.sides)
            if stated is not None:
                return self.same(stated, answer)
            return expressions.solves((first.sides[0], first.sides[-1]), answer) or None
        if second is not None and _contradict(second.sides):
            return False
        stated = self._stated_value(second.sides) if second is not None else None
        return self.same(gold, stated) if stated is not None else None

    def _same_equations(self, gold: Sequence[str], answer: Sequence[str]) -> bool | None:
        if _is_same_label(gold[0], answer[0]) and (finding := self.same(gold[-1], answer[-1])) is not None:
            return finding
        return expressions.same_equation((gold[0], gold[-1]), (answer[0], answer[-1]))

    def _stated_value(self, sides: Sequence[str]) -> str | None:
        """The last side, where the first is a label or all of it is an identity."""
        if shapes.is_label(sides[0]) or tuple_equations("=".join(sides)) is not None:
            return sides[-1]
        return sides[-1] if self.same(sides[-1], sides[0]) else None

    def _by_degrees(self, gold: str, answer: str) -> bool | None:
        first, second = _DEGREE.sub("", gold), _DEGREE.sub("", answer)
        if (first, second) == (gold, answer):
            return None
        if second == answer and r"\pi" in answer:
            return expressions.same(expressions.degrees_as_formula(first), answer)
        if first == gold and r"\pi" in gold:
            return expressions.same(gold, expressions.degrees_as_formula(second))
        return self.same(first, second)

    def _by_formula(self, gold: str, answer: str) -> bool | None:
        finding = expressions.same(gold, answer)
        if finding is not False:
            return finding
        first, second = value_of(gold), value_of(answer)
        return first is not None and second is not None and numbers_match(first, second, self._request)


def _contradict(sides: Sequence[str]) -> bool:
    """Whether an equation is plainly false, beyond what rounding does: "x = 6 = 5"."""
    values = [value for side in sides if "%" not in side and (value := exact_value(side)) is not None]
    return any(abs(value - values[-1]) > _CONTRADICTION * max(abs(value), abs(values[-1])) for value in values)


def _base(text: str) -> str:
    number = number_in_words(text)
    return text if number is None else str(number.value)


def _as_row(table: list[list[str]]) -> list[list[str]]:
    """A column as the row that it is written as in a tuple."""
    return [[cell for row in table for cell in row]] if 1 in (len(table), len(table[0])) else table


def _is_same_label(gold: str, answer: str) -> bool:
    labels = [text.replace(" ", "") for text in (gold, answer)]
    return labels[0] == labels[1] or ("y" in labels and any(map(_FUNCTION.fullmatch, labels)))
