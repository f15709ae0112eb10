"""The judge's settings: environment variables ``PANGU_VERL_JUDGE_<FIELD>``, over the YAML file that one of them names.

Invariant: settings are read once, when the plugin is loaded, and wrong ones stop the run there. The key itself is
never a setting: only the name of the environment variable that holds it. All defaults are this project's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import httpx
import platformdirs
import yaml  # type: ignore[import-untyped]  # PyYAML ships no types
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from pangu_verl.errors import WrongUse

PREFIX = "PANGU_VERL_JUDGE_"
FILE = f"{PREFIX}FILE"
DEFAULT_RUBRIC = """\
- Does the response do what was asked, all of it, and in the language and form that was asked for?
- Is what it says true and, where it argues, sound?
- Is it clear, well ordered and no longer than the request needs? Length by itself earns nothing."""


def default_cache_path() -> Path:
    return Path(platformdirs.user_cache_dir("pangu_verl")) / "judge.sqlite"


class JudgeSettings(BaseModel):
    """Which judge is asked, what it is told, and what asking may cost."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    endpoint: str | None = None
    """Base URL of the server, up to and with ``/v1``."""
    model: str | None = Field(None, min_length=1)
    """The model's name as the server knows it; in a pool, the path that verl loads it from where none is given."""
    pool: bool = False
    """Whether to ask verl's own reward-model pool, whose address verl hands over, instead of ``endpoint``."""
    api_key_variable: str | None = None
    """Name of the environment variable that holds the key; none where the server wants no key. No pool gets it."""
    rubric: str = DEFAULT_RUBRIC
    """What to look at, in words. Part of the cache's key, so another rubric asks anew."""
    lowest_score: float = 1.0
    """The end of the judge's scale that becomes 0."""
    highest_score: float = 10.0
    """The end of the judge's scale that becomes 1."""
    temperature: float = Field(0.0, ge=0)
    longest_reply_tokens: int = Field(1024, ge=1)
    """A judge that reasons before it answers needs more; a reply cut short is no verdict."""
    longest_text_characters: int = Field(24_000, ge=200)
    """Each text of a prompt that is longer loses its middle, and says so."""
    longest_reply_bytes: int = Field(1 << 20, ge=1024)
    """A body that is longer is abandoned."""
    requests_in_flight: int = Field(32, ge=1)
    """At a time, for this process."""
    requests_per_minute: float = Field(600.0, gt=0)
    """Begun at even distances, for this process: with N reward workers the judge sees N times as many."""
    timeout_s: float = Field(60.0, gt=0)
    """For one attempt, from connecting to the last byte."""
    attempts: int = Field(4, ge=1)
    """For one request; only what may pass by itself is tried again."""
    first_wait_s: float = Field(0.5, gt=0)
    """Scale of the random wait before the second attempt; it doubles with each."""
    longest_wait_s: float = Field(30.0, gt=0)
    """Also the most that a server's ``Retry-After`` is obeyed."""
    failures_to_open: int = Field(8, ge=1)
    """Failed attempts in a row after which the judge counts as down."""
    open_s: float = Field(30.0, gt=0)
    """How long a judge that is down is left alone before one request tries again."""
    cache_path: Path = Field(default_factory=default_cache_path)
    cache_entries: int = Field(200_000, ge=0)
    """Replies kept, the oldest leave first; 0 keeps none and makes no file."""

    @field_validator("endpoint")
    @classmethod
    def _is_an_address(cls, value: str | None) -> str | None:
        return None if value is None else base_url(value)

    @model_validator(mode="after")
    def _has_a_server(self) -> Self:
        if self.pool and self.endpoint is not None:
            raise ValueError("pool=true asks verl's reward-model pool, endpoint another server; unset one of them")
        missing = [name for name in ("endpoint", "model") if getattr(self, name) is None]
        if missing and not self.pool:
            raise ValueError(f"{missing[0]} is not set; set endpoint and model, or pool=true")
        return self

    @model_validator(mode="after")
    def _has_a_scale(self) -> Self:
        if self.lowest_score >= self.highest_score:
            raise ValueError(f"lowest_score {self.lowest_score:g} is not below highest_score {self.highest_score:g}")
        return self


def base_url(value: str) -> str:
    """The URL without a slash at its end. Raises ``ValueError`` for what is none, or would carry a secret."""
    try:
        url = httpx.URL(value)
    except httpx.InvalidURL as error:
        raise ValueError(f"is no URL: {error}") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError("is no http or https URL with a host, such as http://judge:8000/v1")
    if url.userinfo or url.query:
        raise ValueError("must carry no user, password or query; the key goes into api_key_variable")
    return value.rstrip("/")


def load_settings(environment: Mapping[str, str]) -> JudgeSettings | None:
    """The settings, or None where none are given. Raises ``WrongUse`` with the field that is wrong."""
    given = {name: value for name, value in environment.items() if name.startswith(PREFIX) and value}
    if not given:
        return None
    file = given.pop(FILE, None)
    values = {} if file is None else _from_file(Path(file))
    values |= {name.removeprefix(PREFIX).lower(): value for name, value in given.items()}
    try:
        settings = JudgeSettings.model_validate(values)
    except ValidationError as error:
        raise WrongUse(f"settings of the judge: {_first_mistake(error)}; see the README of pangu-verl-judge") from None
    api_key(settings, environment)
    return settings


def api_key(settings: JudgeSettings, environment: Mapping[str, str]) -> str | None:
    """The key, from the variable that the settings name. Raises ``WrongUse`` where that is not set."""
    variable = settings.api_key_variable
    if variable is None:
        return None
    key = environment.get(variable, "").strip()
    if not key:
        raise WrongUse(f"settings of the judge: api_key_variable names {variable}, which is not set; export {variable}")
    if not (key.isascii() and key.isprintable()):
        raise WrongUse(
            f"settings of the judge: {variable} holds characters that no header takes; set it to the key alone"
        )
    return key


def _from_file(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        told = " ".join(str(error).split())
        raise WrongUse(f"{FILE}: expected a readable YAML file, got {path}: {told}; mend or unset it") from None
    if not isinstance(values, dict):
        raise WrongUse(f"{FILE}: expected a mapping of settings in {path}, got {type(values).__name__}; mend the file")
    return {str(name): value for name, value in values.items() if value is not None}


def _first_mistake(error: ValidationError) -> str:
    """Says the field and what is wrong, never the value, which may be a key put in the wrong place."""
    mistake = error.errors(include_url=False, include_context=False, include_input=False)[0]
    field = ".".join(str(part) for part in mistake["loc"])
    known = f" (known: {', '.join(JudgeSettings.model_fields)})" if mistake["type"] == "extra_forbidden" else ""
    return f"{field + ': ' if field else ''}{mistake['msg']}{known}"
