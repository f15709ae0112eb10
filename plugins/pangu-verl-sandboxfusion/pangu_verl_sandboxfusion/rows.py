"""What of a row is run: the code of its answer, and its tests.

Invariant: a row whose tests are missing, misspelt or of a kind that is not run here is refused whole, with the first
thing that is wrong, so that no test is passed over in silence.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

_FENCE = re.compile(r"^[ \t]*(`{3,}|~{3,})[^\n`]*\n(?P<code>.*?)^[ \t]*\1[ \t]*$", re.DOTALL | re.MULTILINE)


class UnusableRow(Exception):
    """The row cannot be judged here. The message fits a verdict's reason."""


class AssertTest(BaseModel):
    """Python code that asserts about top-level names of the response."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    kind: Literal["assert"]
    code: str


class StdinTest(BaseModel):
    """What a program reads on standard input, and what it has to print."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    kind: Literal["stdin"]
    input: str
    output: str


Test = Annotated[AssertTest | StdinTest, Field(discriminator="kind")]
_TESTS: TypeAdapter[list[AssertTest | StdinTest]] = TypeAdapter(list[Test])


def read_tests(tests: Sequence[Mapping[str, Any]]) -> list[AssertTest | StdinTest]:
    """The tests of a row. Raises ``UnusableRow``."""
    if len(tests) == 0:
        raise UnusableRow("the row has no tests")
    try:
        read = _TESTS.validate_python(list(tests))
    except ValidationError as error:
        mistake = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place, *field = (str(part) for part in mistake["loc"])
        raise UnusableRow(f"test {place} of the row: {'.'.join(field)}: {mistake['msg']}") from None
    for number, test in enumerate(read):
        for name, text in test.model_dump(exclude={"kind"}).items():
            if not is_text(text):
                raise UnusableRow(f"test {number} of the row: {name}: holds a lone surrogate, which is no text")
    return read


def code_of(answer: str) -> str:
    """The last fenced block; where there is none, the whole answer."""
    blocks = [match["code"] for match in _FENCE.finditer(answer)]
    return blocks[-1] if blocks else answer


def is_text(text: str) -> bool:
    """Whether a program or a request can hold it: a lone surrogate has no bytes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
