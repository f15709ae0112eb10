"""The settings: environment variables ``PANGU_VERL_SANDBOXFUSION_<FIELD>``, read once, when the plugin is loaded.

Invariant: wrong settings stop the run there, with the field's name. Defaults are this project's own; those of time and
memory are the ones of ``pangu-verl rewards``.
"""

from __future__ import annotations

from collections.abc import Mapping

import httpx
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from pangu_verl.errors import WrongUse

PREFIX = "PANGU_VERL_SANDBOXFUSION_"


class SandboxFusionSettings(BaseModel):
    """Which server runs the code, and what one run may cost."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    endpoint: str
    """Base URL of the server, without ``/run_code``."""
    run_timeout_s: float = Field(10.0, gt=0)
    """Wall time of one test in the sandbox; a response that needs more fails the test."""
    memory_mib: int = Field(1024, ge=1)
    """Of one test. The server applies it only where its own isolation is "none"; "lite" has a limit of its own."""
    requests_in_flight: int = Field(16, ge=1)
    """At a time, for this process."""
    queue_s: float = Field(60.0, gt=0)
    """How long a request may take beyond ``run_timeout_s``, most of it waiting in the server."""
    attempts: int = Field(3, ge=1)
    """For one test; only what may pass by itself is tried again."""
    first_wait_s: float = Field(0.5, gt=0)
    """Scale of the random wait before the second attempt; it doubles with each."""
    longest_wait_s: float = Field(20.0, gt=0)
    longest_reply_bytes: int = Field(16 << 20, ge=1 << 20)
    """A body that is longer is abandoned."""

    @field_validator("endpoint")
    @classmethod
    def _is_an_address(cls, value: str) -> str:
        try:
            url = httpx.URL(value)
        except httpx.InvalidURL as error:
            raise ValueError(f"is no URL: {error}") from None
        if url.scheme not in ("http", "https") or not url.host or url.query:
            raise ValueError("is no http or https URL with a host, such as http://sandbox:8080")
        return value.rstrip("/")


def load_settings(environment: Mapping[str, str]) -> SandboxFusionSettings | None:
    """The settings, or None where none are given. Raises ``WrongUse`` with the field that is wrong."""
    given = {
        name.removeprefix(PREFIX).lower(): value
        for name, value in environment.items()
        if name.startswith(PREFIX) and value
    }
    if not given:
        return None
    try:
        return SandboxFusionSettings.model_validate(given)
    except ValidationError as error:
        mistake = error.errors(include_url=False, include_context=False, include_input=False)[0]
    known = f" (known: {', '.join(SandboxFusionSettings.model_fields)})" if mistake["type"] == "extra_forbidden" else ""
    field = ".".join(str(part) for part in mistake["loc"])
    raise WrongUse(
        f"settings of SandboxFusion: {field}: {mistake['msg']}{known}; see the README of pangu-verl-sandboxfusion"
    )
