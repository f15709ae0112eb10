"""What a configuration says of rewards (``pangu.rewards``), checked: ladders, measurements, limits.

Invariant: a name or a value that means nothing is refused by its key before anything is judged.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from pangu_verl.errors import WrongUse, first_line
from pangu_verl.mars.dispatch import ladders, with_options
from pangu_verl.mars.ladder import Ladder, LadderOptions
from pangu_verl.mars.reliability import Rate, Tolerance
from pangu_verl.mars.state import UNJUDGED_LIMIT, WINDOW_ROWS, RewardState
from pangu_verl.types import AuxiliaryTerm, RewardSource

KEY = "pangu.rewards"


class RewardSettings(BaseModel):
    """The keys below ``pangu.rewards``; their meaning is in ``config/common.yaml``."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    sources: list[str] | None = None
    options: dict[str, dict[str, Any]] = Field(default_factory=dict)
    terms: list[str] | None = None
    audit_share: float = Field(LadderOptions().audit_share, ge=0, le=1)
    audit_window_rows: int = Field(Tolerance().window_audits, ge=1)
    tolerated_error_rate: float = Field(Tolerance().error_rate, gt=0, lt=1)
    budgets: dict[str, float] = Field(default_factory=dict)
    timeout_s: float | None = Field(LadderOptions().timeout_s, gt=0)
    unjudged_limit: float = Field(UNJUDGED_LIMIT, ge=0, le=1)
    unjudged_window_rows: int = Field(WINDOW_ROWS, ge=1)
    measurements: str | None = None
    trail_dir: str | None = None

    def ladders(self, sources: Mapping[str, RewardSource]) -> dict[str, Ladder]:
        """The ladder of each domain, out of the sources that plugins registered. Raises ``WrongUse``."""
        for name, share in self.budgets.items():
            if name not in sources:
                known = ", ".join(sources) or "none"
                raise WrongUse(f"{KEY}.budgets: there is no reward source {name!r} (registered: {known})")
            if not 0 <= share <= 1:
                raise WrongUse(f"{KEY}.budgets.{name} takes a share of rows from 0 to 1, got {share!r}")
        options = LadderOptions(audit_share=self.audit_share, budgets=self.budgets, timeout_s=self.timeout_s)
        return ladders(with_options(sources, self.options), self.sources, options)

    def chosen_terms(self, terms: Mapping[str, AuxiliaryTerm]) -> list[AuxiliaryTerm]:
        """Those of the registered ``terms`` that apply, in their order. Raises ``WrongUse``."""
        for name in self.terms or ():
            if name not in terms:
                known = ", ".join(terms) or "none"
                raise WrongUse(f"{KEY}.terms: there is no auxiliary term {name!r} (registered: {known})")
        return [term for name, term in terms.items() if self.terms is None or name in self.terms]

    def state(self) -> RewardState:
        """The state that a run begins with, gold measurements included. Raises ``WrongUse`` for a file of no use."""
        tolerance = Tolerance(error_rate=self.tolerated_error_rate, window_audits=self.audit_window_rows)
        if self.audit_window_rows < tolerance.fewest_audits:
            raise WrongUse(
                f"{KEY}.audit_window_rows: {self.audit_window_rows} audits without an error cannot show a rate below "
                f"{KEY}.tolerated_error_rate={self.tolerated_error_rate:g}, so a source would never be believed again; "
                f"set it to {tolerance.fewest_audits} or more"
            )
        state = RewardState(
            unjudged_limit=self.unjudged_limit, window_rows=self.unjudged_window_rows, tolerance=tolerance
        )
        if self.measurements is not None:
            state.reliability.take_gold(read_measurements(Path(self.measurements).expanduser()))
        return state


def reward_settings(found: object) -> RewardSettings:
    """The settings in the mapping at ``pangu.rewards``. Raises ``WrongUse`` with the key that is wrong."""
    try:
        return RewardSettings.model_validate({} if found is None else found)
    except ValidationError as error:
        mistake = error.errors(include_url=False, include_context=False)[0]
        where = ".".join([KEY, *map(str, mistake["loc"])])
        known = f" (known: {', '.join(RewardSettings.model_fields)})" if mistake["type"] == "extra_forbidden" else ""
        told = f"{where}: {mistake['msg']}{known}, got {mistake['input']!r:.80}"
        raise WrongUse(f"{told}; pangu-verl train --explain {where} says more") from None


def read_measurements(path: Path) -> list[Rate]:
    """The rates that ``pangu-verl rewards validate --measurements`` wrote. Raises ``WrongUse``."""
    try:
        found = json.loads(path.read_bytes())
        rates = TypeAdapter(list[Rate]).validate_python(found["rates"] if isinstance(found, dict) else found)
    except (OSError, ValueError, KeyError, RecursionError) as error:
        raise WrongUse(
            f"{KEY}.measurements: {path} cannot be read ({first_line(error)}); write it with "
            f"pangu-verl rewards validate DATA --measurements {path}"
        ) from error
    if any(rate.origin != "gold" or rate.claim != "reject" for rate in rates):
        raise WrongUse(
            f"{KEY}.measurements: {path} holds rates of other things than gold answers rejected (a run's "
            f"reliability.json?); write it with pangu-verl rewards validate DATA --measurements {path}"
        )
    if any(not 0 <= rate.wrong <= rate.audited for rate in rates):
        raise WrongUse(f"{KEY}.measurements: {path} has a rate with more wrong claims than audited ones; write it anew")
    return rates
