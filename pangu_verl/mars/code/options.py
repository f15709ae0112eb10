"""What a configuration may say of the code reward, at ``pangu.rewards.options.code``.

Invariant: an option or a value that means nothing is refused by its key; null means that the option was not given.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pangu_verl.errors import WrongUse
from pangu_verl.mars.code.rewards import CodeReward

KEY = "pangu.rewards.options.code"


class CodeOptions(BaseModel):
    """``slots``: programs at a time. ``accept_unguarded``: run programs also where the sandbox guards too little."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    scheme: Literal["pass_fraction", "stage"] = "pass_fraction"
    syntax_error: float = CodeReward().syntax_error
    runtime_error: float = CodeReward().runtime_error
    wrong: float = CodeReward().wrong
    slots: int = Field(2, ge=1)
    accept_unguarded: bool = False

    def reward(self) -> CodeReward:
        """Raises ``WrongUse`` where the values of the stages do not rise."""
        return CodeReward(
            scheme=self.scheme,
            syntax_error=self.syntax_error,
            runtime_error=self.runtime_error,
            wrong=self.wrong,
        )


def code_options(given: Mapping[str, Any]) -> CodeOptions:
    """Raises ``WrongUse`` with the option that is wrong."""
    try:
        return CodeOptions.model_validate({name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        mistake = error.errors(include_url=False, include_context=False)[0]
        where = ".".join([KEY, *map(str, mistake["loc"])])
        if mistake["type"] == "extra_forbidden":
            raise WrongUse(f"{where}: there is no such option; the code reward takes {_known()}") from None
        raise WrongUse(f"{where}: {mistake['msg']}, got {mistake['input']!r:.80}") from None


def _known() -> str:
    return ", ".join(CodeOptions.model_fields)
