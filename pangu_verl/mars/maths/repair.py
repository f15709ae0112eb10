r"""Mending how an answer is written, before its meaning is looked at.

Invariant: a repair changes spelling alone. Commands that JSON escapes ate are restored ("\f" + "rac"), HTML and
Unicode become LaTeX, doubled backslashes become single outside matrices. Nothing is evaluated, and all work is linear.
"""

from __future__ import annotations

import re

_EATEN = {"\x0c": r"\f", "\x08": r"\b", "\x0b": r"\v", "\x07": r"\a"}
_EATEN_TAB = re.compile(r"\t(?=(?:ext|imes|heta|anh?|frac|riangle|o)(?![a-z]))")
_EATEN_RETURN = re.compile(r"\r(?=(?:ight|ho|angle|m)(?![a-z]))")
_DOUBLED = re.compile(r"\\\\(?=[a-zA-Z{}])")
_HTML = re.compile(r"<(su[bp])>([^<>]{0,200})</\1>")
_TEXT_FUNCTION = re.compile(
    r"\\(?:text|mathrm|operatorname)\s*\{\s*(arcsin|arccos|arctan|sin|cos|tan|cot|sec|csc|log|ln|exp|max|min)\s*\}"
)
_BRACED_COMMA = re.compile(r"(?<=[0-9])\s?\{\s?,\s?\}\s?(?=[0-9])|(?<=[0-9]),\s?\\!\s?(?=[0-9])")
_PLAIN_POWER = re.compile(r"\^\s*\(([^()]{1,100})\)")
_SIZING = re.compile(r"\\(?:[bB]ig{1,2}[lrm]?|left|right|displaystyle|limits)(?![a-zA-Z])\s*\.?")
_STRAY_DOT = re.compile(r"(?<=[0-9}])\.(?=\s*[\])}])")
_SPACING = re.compile(r"(?<!\\)\\(?:[,;:! ]|q?quad(?![a-zA-Z])|h?phantom\{[^{}]*\})|~|\u00a0|\u2009|\u202f")
_STYLE = re.compile(r"\\(?:math(?:bf|it|sf|cal)|boldsymbol|bm|textbf|underline)\s*\{([^{}]{0,200})\}")
_UNICODE = str.maketrans(
    {
        "π": r"\pi ", "θ": r"\theta ", "α": r"\alpha ", "β": r"\beta ", "∞": r"\infty ", "∪": r"\cup ",
        "∩": r"\cap ", "∈": r"\in ", "≤": r"\le ", "≥": r"\ge ", "≠": r"\ne ", "×": r"\times ", "·": r"\cdot ",
        "÷": r"\div ", "±": r"\pm ", "∓": r"\mp ", "²": "^2", "³": "^3", "−": "-", "–": "-", "－": "-", "＋": "+",
        "＜": "<", "＞": ">", "＝": "=", "（": "(", "）": ")", "，": ",", "、": ",", "；": ";", "：": ":",
        "√": r"\sqrt ", "°": r"^\circ ", "∀": r"\forall ", "∅": r"\emptyset ", "⋅": r"\cdot ", "％": "%",
        "½": r"\frac{1}{2}", "¼": r"\frac{1}{4}", "¾": r"\frac{3}{4}", "\x00": "",
    }
)  # fmt: skip
_SYNONYMS = (
    (re.compile(r"\\(?:leqslant|leqq|leq)(?![a-zA-Z])|<="), r"\\le "),
    (re.compile(r"\\(?:geqslant|geqq|geq)(?![a-zA-Z])|>="), r"\\ge "),
    (re.compile(r"\\neq(?![a-zA-Z])|!="), r"\\ne "),
    (re.compile(r"\\lt(?![a-zA-Z])"), "<"),
    (re.compile(r"\\gt(?![a-zA-Z])"), ">"),
    (re.compile(r"\\(?:cupdot|bigcup|sqcup)(?![a-zA-Z])"), r"\\cup "),
    (re.compile(r"\\(?:tfrac|dfrac|cfrac)(?![a-zA-Z])"), r"\\frac"),
    (re.compile(r"\\d?binom(?![a-zA-Z])"), r"\\binom"),
    (re.compile(r"\\(?:colon|ratio)(?![a-zA-Z])"), ":"),
    (re.compile(r"\\(?:lbrace|lbrack)(?![a-zA-Z])"), r"\\{"),
    (re.compile(r"\\rbrace(?![a-zA-Z])"), r"\\}"),
    (re.compile(r"\\degree(?![a-zA-Z])"), r"^\\circ "),
    (re.compile(r"\\(?:langle)(?![a-zA-Z])"), "("),
    (re.compile(r"\\(?:rangle)(?![a-zA-Z])"), ")"),
    (re.compile(r"\\(?:mathbb|Bbb)\s*\{?\s*R\s*\}?|\\R(?![a-zA-Z])|ℝ"), r"\\R "),
)
_SHORT_FRACTION = re.compile(r"\\frac\s*([0-9a-zA-Z])\s*([0-9a-zA-Z])(?![0-9])")
_HALF_SHORT_FRACTION = re.compile(r"\\frac\s*(\{[^{}]*\})\s*([0-9a-zA-Z])|\\frac\s*([0-9a-zA-Z])\s*(?=\{)")
_SHORT_ROOT = re.compile(r"\\sqrt\s*([0-9a-zA-Z])")


def restored(text: str) -> str:
    r"""A text with the LaTeX commands back that escapes have eaten: a form feed and "rac" is ``\frac``."""
    for eaten, command in _EATEN.items():
        text = text.replace(eaten, command)
    return _EATEN_RETURN.sub(r"\\r", _EATEN_TAB.sub(r"\\t", text))


def mended(text: str) -> str:
    """One spelling for what Unicode, HTML and LaTeX write in several ways; for the readers of shapes and formulas."""
    text = _HTML.sub(lambda match: ("^" if match[1] == "sup" else "_") + "{" + match[2] + "}", restored(text))
    text = _BRACED_COMMA.sub(",", text)
    if r"\begin" not in text:
        text = _DOUBLED.sub(r"\\", text)
    text = _SIZING.sub(" ", text.translate(_UNICODE))
    text = _STYLE.sub(r"\1", _TEXT_FUNCTION.sub(r"\\\1 ", text))
    for pattern, replacement in _SYNONYMS:
        text = pattern.sub(replacement, text)
    text = _STRAY_DOT.sub("", _SPACING.sub(" ", text))
    text = _SHORT_ROOT.sub(r"\\sqrt{\1}", _SHORT_FRACTION.sub(r"\\frac{\1}{\2}", text))
    text = _HALF_SHORT_FRACTION.sub(_braced, text)
    return " ".join(_PLAIN_POWER.sub(r"^{\1}", text).split())


def _braced(match: re.Match[str]) -> str:
    return rf"\frac{{{match[3]}}}" if match[3] else rf"\frac{match[1]}{{{match[2]}}}"
