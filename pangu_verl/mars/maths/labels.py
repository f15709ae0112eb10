"""The members of a list or set, each with the label that names it: "w=16, d=3", "Paolo: 18, Qing: 14".

Invariant: a label that both sides give has to agree; a letter given by one side alone fixes the order of its list, and
a word does not, because words name no order.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from pangu_verl.mars.literal import normal_form
from pangu_verl.mars.maths import shapes


@dataclass(frozen=True, slots=True)
class Member:
    """One value of a list. ``label`` is what it is said to be; ``is_placed``: its place counts, as in a tuple."""

    value: str
    label: str | None = None
    is_placed: bool = False

    @staticmethod
    def of(text: str) -> Member:
        name, value = shapes.named(text)
        found = shapes.relation(value)
        if found is not None and found.operators == ("=",) and shapes.is_label(found.sides[0]):
            return Member(found.sides[-1], found.sides[0].replace(" ", "").casefold())
        return Member(value, name)

    @property
    def is_lettered(self) -> bool:
        return self.label is not None and len(self.label) <= 2


def members(text: str) -> list[Member] | None:
    """The values of a set, a bare list, or a text with a double sign; None for a single value."""
    content = _braced(text)
    if content is not None and ("|" in content or r"\mid" in content) and shapes.relation(content) is not None:
        return None  # a set by its rule
    parts = tuple_equations(text) or _grouped(text) or shapes.split_list(text if content is None else content)
    found = [Member.of(value) for part in parts for value in shapes.signs_expanded(shapes.without_unit(part))]
    if content is not None:
        return _once(found)
    return found if len(found) > 1 else None


def tuple_equations(text: str) -> list[str] | None:
    """ "(x, y) = (1, 2)" as ["x=1", "y=2"]."""
    found = shapes.relation(text)
    if found is None or found.operators != ("=",):
        return None
    names, values = (
        shapes.split_at(content, {","}) if (content := shapes.inside(side, "(", ")")) is not None else []
        for side in found.sides
    )
    if len(names) != len(values) or len(names) < 2 or not all(map(shapes.is_label, names)):
        return None
    return [f"{name}={value}" for name, value in zip(names, values, strict=True)]


def without_common_labels(found: list[Member]) -> list[Member]:
    """Without a label that all values share, because it tells none apart: "x=1 or x=2"."""
    labels = {member.label for member in found if member.label is not None}
    return [replace(member, label=None) for member in found] if len(labels) == 1 else found


def points_once(golds: list[Member], answers: list[Member]) -> list[Member]:
    """The answers, each point once where the golds are points that differ: a solution stated twice is one solution."""
    are_points = all(member.value.startswith(("(", "[")) for member in golds)
    return _once(answers) if are_points and len(_once(golds)) == len(golds) else answers


def in_order(golds: list[Member], answers: list[Member]) -> bool:
    """Whether order matters: in a tuple, and where one side alone names its values, by letters."""
    if any(member.is_placed for member in (*golds, *answers)):
        return not all(any(member.label for member in side) for side in (golds, answers))
    lettered = any(member.is_lettered for member in (*golds, *answers))
    return lettered and not all(any(member.label for member in side) for side in (golds, answers))


def _braced(text: str) -> str | None:
    return next(
        (found for pair in ((r"\{", r"\}"), ("{", "}")) if (found := shapes.inside(text, *pair)) is not None), None
    )


def _grouped(text: str) -> list[str] | None:
    """ "p=5, q=2; p=7, q=2" as ["(5,2)", "(7,2)"]."""
    groups = [[Member.of(part) for part in shapes.split_list(group)] for group in shapes.split_at(text, {";"})]
    if len(groups) < 2 or not all(len(group) > 1 and all(member.label for member in group) for group in groups):
        return None
    return ["(" + ",".join(member.value for member in group) + ")" for group in groups]


def _once(found: list[Member]) -> list[Member]:
    return list({(member.label, normal_form(member.value)): member for member in found}.values())
