"""The instruction families, a file a group, each a function of the answer and the arguments that IFEval's data names.

Invariant: a family is pure, and linear in the answer: whatever a model wrote, no pattern backtracks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from pangu_verl_ifeval.families import case, combination, content, form, keywords, language, length, startend

FAMILIES: Mapping[str, Callable[..., bool]] = MappingProxyType(
    {
        "keywords:existence": keywords.existence,
        "keywords:frequency": keywords.frequency,
        "keywords:forbidden_words": keywords.forbidden_words,
        "keywords:letter_frequency": keywords.letter_frequency,
        "language:response_language": language.response_language,
        "length_constraints:number_sentences": length.number_sentences,
        "length_constraints:number_paragraphs": length.number_paragraphs,
        "length_constraints:number_words": length.number_words,
        "length_constraints:nth_paragraph_first_word": length.nth_paragraph_first_word,
        "detectable_content:number_placeholders": content.number_placeholders,
        "detectable_content:postscript": content.postscript,
        "detectable_format:number_bullet_lists": form.number_bullet_lists,
        "detectable_format:constrained_response": form.constrained_response,
        "detectable_format:number_highlighted_sections": form.number_highlighted_sections,
        "detectable_format:multiple_sections": form.multiple_sections,
        "detectable_format:json_format": form.json_format,
        "detectable_format:title": form.title,
        "combination:two_responses": combination.two_responses,
        "combination:repeat_prompt": combination.repeat_prompt,
        "startend:end_checker": startend.end_checker,
        "startend:quotation": startend.quotation,
        "change_case:capital_word_frequency": case.capital_word_frequency,
        "change_case:english_capital": case.english_capital,
        "change_case:english_lowercase": case.english_lowercase,
        "punctuation:no_comma": form.no_comma,
    }
)
