"""Each instruction family: answers that meet it and answers that do not."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pangu_verl_ifeval.checks import bound_checks
from pangu_verl_ifeval.families import FAMILIES
from pangu_verl_ifeval.sentences import count_sentences

LESS, LEAST = "less than", "at least"

#: Family, its arguments, an answer that meets it, one that does not.
CASES: list[tuple[str, dict[str, Any], str, str]] = [
    ("keywords:existence", {"keywords": ["mom", "sun"]}, "Moms like the SUN.", "Mom likes the moon."),
    ("keywords:existence", {"keywords": ["c++ (new)"]}, "I like C++ (new).", "I like c."),
    ("keywords:frequency", {"keyword": "war", "frequency": 2, "relation": LEAST}, "War and warfare.", "One war."),
    ("keywords:frequency", {"keyword": "war", "frequency": 1, "relation": LESS}, "Peace.", "War."),
    ("keywords:forbidden_words", {"forbidden_words": ["rock", "sea"]}, "A rocket by the seaside.", "ROCK, they said."),
    ("keywords:letter_frequency", {"letter": "q", "let_frequency": 2, "let_relation": LEAST}, "Quick queue", "quit"),
    ("keywords:letter_frequency", {"letter": "#", "let_frequency": 2, "let_relation": LESS}, "#one", "#one #two"),
    ("length_constraints:number_words", {"num_words": 3, "relation": LEAST}, "one two, three", "one two"),
    ("length_constraints:number_words", {"num_words": 3, "relation": LESS}, "one two", "one two three"),
    ("length_constraints:number_sentences", {"num_sentences": 2, "relation": LEAST}, "One. Two", "Mr. Smith came."),
    ("length_constraints:number_sentences", {"num_sentences": 2, "relation": LESS}, "Only one, e.g. this.", "A cat. A dog."),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, "one\n***\ntwo", "one\n\ntwo"),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, "***\none\n***\ntwo\n***", "one\n***\n***\ntwo"),
    (
        "length_constraints:nth_paragraph_first_word",
        {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "elm"},
        'one\n\n"Elm, trees',
        "one\n\nelms",
    ),
    (
        "length_constraints:nth_paragraph_first_word",
        {"num_paragraphs": 1, "nth_paragraph": 1, "first_word": "elm"},
        "\n\n**Elm** trees\n\n",
        "elm\n\nelm",
    ),
    ("detectable_content:number_placeholders", {"num_placeholders": 2}, "[name] in [city]", "[name] in city]"),
    ("detectable_content:postscript", {"postscript_marker": "P.S."}, "Bye\n\np. s. more", "Bye PS more"),
    ("detectable_content:postscript", {"postscript_marker": "P.P.S"}, "Bye\nP.P.S. more", "Bye\nP.S. more"),
    ("detectable_content:postscript", {"postscript_marker": "N.B."}, "Bye\nn.b. more", "Bye"),
    ("detectable_format:number_bullet_lists", {"num_bullets": 2}, "* one\n  - two\n---\n**bold**", "* one"),
    ("detectable_format:number_bullet_lists", {"num_bullets": 1}, "Text\n\n- one", "- one\n- two"),
    ("detectable_format:constrained_response", {}, "I think: My answer is maybe.", "My answer is perhaps."),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 2}, "*one* and **two**", "*one* and ** ** and **two*"),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 1}, "* point *really*", "*one\ntwo*"),
    ("detectable_format:multiple_sections", {"section_spliter": "Section", "num_sections": 2}, "Section 1\na\nSection 2\nb", "SECTION 1\nSection 2"),
    ("detectable_format:json_format", {}, '```json\n{"a": [1]}\n```', "{'a': 1}"),
    ("detectable_format:json_format", {}, "[1, 2]", "Here: [1, 2]"),
    ("detectable_format:title", {}, "<<poem of joy>>\nOh joy", "<< >>\n<joy>\n<<joy\n>>"),
    ("combination:two_responses", {}, "one\n******\ntwo", "one\n******\none"),
    ("combination:two_responses", {}, "******\none\n******\ntwo\n******", "one******two******three"),
    ("combination:repeat_prompt", {"prompt_to_repeat": "Write a haiku."}, " write a HAIKU. Old pond", "Old pond. Write a haiku."),
    ("startend:end_checker", {"end_phrase": "Peace!"}, '"Bye. peace!"\n', "Peace! Bye."),
    ("startend:quotation", {}, ' "quoted" ', '"quoted" or not'),
    ("startend:quotation", {}, '""', '"'),
    ("change_case:capital_word_frequency", {"capital_frequency": 2, "capital_relation": LEAST}, "I am NASA", "I am Nasa"),
    ("change_case:capital_word_frequency", {"capital_frequency": 2, "capital_relation": LESS}, "STOP, Joe", "STOP IT, Joe"),
    ("change_case:english_capital", {}, "THIS IS AN ENGLISH SENTENCE, NUMBER 1.", "This is an English sentence."),
    ("change_case:english_capital", {}, "HELLO!", "DIES IST EIN SEHR KURZER SATZ AUF DEUTSCH."),
    ("change_case:english_lowercase", {}, "this is an english sentence.", "this is an English sentence."),
    ("change_case:english_lowercase", {}, "ok.", "dies ist ein sehr kurzer satz auf deutsch."),
    ("language:response_language", {"language": "de"}, "Dies ist ein kurzer Satz auf Deutsch.", "This is a short sentence."),
    ("punctuation:no_comma", {}, "one; two", "one, two"),
]  # fmt: skip

#: A sentence in each language that IFEval names.
SENTENCES = {
    "ar": "هذه جملة قصيرة مكتوبة باللغة العربية.",
    "bg": "Това е кратко изречение на български език.",
    "bn": "এটি বাংলায় লেখা একটি ছোট বাক্য।",
    "de": "Dies ist ein kurzer Satz auf Deutsch.",
    "en": "This is a short sentence in English.",
    "es": "Esta es una frase corta escrita en español.",
    "fa": "این یک جمله کوتاه به زبان فارسی است.",
    "fi": "Tämä on lyhyt suomeksi kirjoitettu lause.",
    "fr": "Ceci est une courte phrase écrite en français.",
    "gu": "આ ગુજરાતીમાં લખેલું એક ટૂંકું વાક્ય છે.",
    "he": "זהו משפט קצר בעברית.",
    "hi": "यह एक छोटा सा वाक्य है जो हिन्दी में लिखा गया है।",
    "it": "Questa è una breve frase scritta in italiano.",
    "ja": "これは短い文です。",
    "kn": "ಇದು ಕನ್ನಡದಲ್ಲಿ ಬರೆದ ಒಂದು ವಾಕ್ಯ.",
    "ko": "이것은 한국어로 쓴 짧은 문장입니다.",
    "ml": "ഇത് മലയാളത്തിൽ എഴുതിയ ഒരു ചെറിയ വാക്യമാണ്.",
    "mr": "हे एक छोटे वाक्य आहे जे मराठीत लिहिलेले आहे.",
    "ne": "यो नेपालीमा लेखिएको एउटा सानो वाक्य हो।",
    "pa": "ਇਹ ਪੰਜਾਬੀ ਵਿੱਚ ਲਿਖਿਆ ਇੱਕ ਛੋਟਾ ਵਾਕ ਹੈ।",
    "pl": "To jest krótkie zdanie napisane po polsku.",
    "pt": "Esta é uma frase curta escrita em português.",
    "ru": "Это короткое предложение на русском языке.",
    "sw": "Hii ni sentensi fupi iliyoandikwa kwa Kiswahili.",
    "ta": "இது தமிழில் எழுதப்பட்ட ஒரு சிறிய வாக்கியம்.",
    "te": "ఇది తెలుగులో రాసిన ఒక చిన్న వాక్యం.",
    "th": "นี่คือประโยคสั้น ๆ ที่เขียนเป็นภาษาไทย",
    "uk": "Це коротке речення українською мовою.",
    "ur": "یہ اردو میں لکھا ہوا ایک چھوٹا جملہ ہے۔",
    "vi": "Đây là một câu ngắn được viết bằng tiếng Việt.",
}


def is_met(name: str, arguments: dict[str, Any], answer: str) -> bool:
    (check,) = bound_checks([{"id": name, **arguments}])
    return check.is_met(answer)


def test_every_family_has_a_case() -> None:
    assert {case[0] for case in CASES} == set(FAMILIES)
    assert len(FAMILIES) == 25


@pytest.mark.parametrize(("name", "arguments", "meeting", "missing"), CASES)
def test_an_answer_meets_a_family_or_does_not(name: str, arguments: dict[str, Any], meeting: str, missing: str) -> None:
    assert is_met(name, arguments, meeting)
    assert not is_met(name, arguments, missing)


@pytest.mark.parametrize("language", SENTENCES)
def test_the_language_of_one_sentence_is_told_from_all_others(language: str) -> None:
    met = [code for code in SENTENCES if is_met("language:response_language", {"language": code}, SENTENCES[language])]
    assert met == [language]


def test_the_larger_part_of_a_mixed_answer_decides() -> None:
    translated = (
        f"{SENTENCES['hi']} Translation note: this sentence means that it is a short sentence in Hindi, no more."
    )
    assert not is_met("language:response_language", {"language": "hi"}, translated)
    assert is_met("language:response_language", {"language": "hi"}, f"{SENTENCES['hi']} (short sentence)")


@pytest.mark.parametrize("answer", ["12345", "\0", "?!", "\ud800"])
def test_a_text_without_letters_is_in_no_language(answer: str) -> None:
    assert not is_met("language:response_language", {"language": "en"}, answer)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        ("...", 0),
        ("One", 1),
        ("One. Two! Three? Four", 4),
        ('"Stop!" he said. (It was late.)', 3),
        ("Dr. J. R. Smith paid $3.50, i.e. too much.", 1),
        ("Well... maybe. Well... Maybe.", 3),
        ("1. First thing.\n2. Second thing.", 2),
        ("It was 2020. Then came more.", 2),
        ("你好。再见！", 2),
        ("यह एक है। यह दो है।", 2),
        ("all small. still two.", 2),
        ("A title\n\nThen a sentence.", 1),
    ],
)
def test_sentences_are_counted_as_people_count(text: str, count: int) -> None:
    assert count_sentences(text) == count


@settings(deadline=None)
@given(st.integers(0, 20))
def test_plain_sentences_count_as_many_as_they_are(number: int) -> None:
    assert count_sentences("The cat sat down. " * number) == number


@settings(deadline=None)
@given(st.text(max_size=200), st.sampled_from(CASES))
def test_a_family_says_yes_or_no_to_any_text(text: str, case: tuple[str, dict[str, Any], str, str]) -> None:
    assert is_met(case[0], case[1], text) in (True, False)
