"""Comparing answers as text: one spelling for what LaTeX can write in many ways, and words or letters as such.

Invariant: two texts with the same normal form mean the same. The reverse does not hold: unequal forms say nothing,
except for words, which are equal as words or not at all.
"""

from __future__ import annotations

import re

_WRAPPERS = (("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]"))
_TEXT = re.compile(r"\\(?:text|mbox|textbf|textit|textrm|textnormal|mathrm|mathbf|operatorname)\s*\{([^{}]*)\}")
_SIZING = re.compile(r"\\(?:left|right|bigg?|Bigg?)(?![a-zA-Z])")
_SPACE = re.compile(r"\\(?:[,;:! ]|q?quad(?![a-zA-Z]))")
_FRACTION = re.compile(r"\\[dtc]frac(?![a-zA-Z])")
_LOOSE_SPACE = re.compile(r"(?<![0-9A-Za-z])\s+|\s+(?![0-9A-Za-z])")
_WORD = re.compile(r"\(?([^\W\d_]+(?:[ '’-][^\W\d_]+)*)\)?")
_DENIAL = re.compile(
    r"\b(?:not|never|wrong|incorrect|false|untrue|anything but|other than)\b"
    r"|n['’]t\b|≠|!=|\\neq?(?![a-zA-Z])|\\not(?![a-zA-Z])",
    re.IGNORECASE,
)
_UNSEEN = re.compile(r"<!--.*?(?:-->|\Z)|~~[^~\n]{1,200}~~|[\u00ad\u200b-\u200d\u2060\ufeff]", re.DOTALL)


def visible(text: str) -> str:
    """A text without HTML comments, struck-out words and characters of no width: what a reader takes as said."""
    return _UNSEEN.sub("", text)


def tagged(text: str) -> str:
    """The content of the last ``<answer>`` tag; the text itself where it has none."""
    _, tag, content = text.rpartition("<answer>")
    return content.partition("</answer>")[0] if tag else text


def unwrapped(text: str) -> str:
    """A text without white space, markdown stars, a full stop and mathematics delimiters around it."""
    text = text.strip().strip("*").strip().rstrip(".").strip()
    for opening, closing in _WRAPPERS:
        inner = text[len(opening) : -len(closing)]
        if len(text) > len(opening + closing) and text.startswith(opening) and text.endswith(closing):
            return text if opening in inner else inner.strip().rstrip(".")
    return text


def normal_form(text: str) -> str:
    """One spelling per meaning: sizing, spacing and text commands, fraction styles and the minus sign are unified."""
    text = unwrapped(text).replace("−", "-").replace("{,}", ",")
    text = _FRACTION.sub(r"\\frac", _SPACE.sub(" ", _SIZING.sub("", text)))
    return " ".join(_LOOSE_SPACE.sub("", _TEXT.sub(r" \1 ", text)).split())


def as_word(text: str) -> str | None:
    """The word, letter or few words that a text is, without case; None for anything with digits or symbols."""
    match = _WORD.fullmatch(re.sub(r"\s+", " ", _TEXT.sub(r"\1", unwrapped(text))).strip().rstrip("."))
    return match[1].casefold() if match else None


def is_denied(text: str) -> bool:
    """Whether a text says what the answer is not."""
    return bool(_DENIAL.search(text))
