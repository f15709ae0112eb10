"""Packages made on the spot: a module and the metadata by which Python finds its plugin."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

MakePlugin = Callable[..., str]

HEADER = """
from pangu_verl.hookspecs import hookimpl
from pangu_verl.types import RewardRow, Verdict

class Source:
    name = "made"
    domains = frozenset({"poems"})
    async def judge(self, row: RewardRow) -> Verdict:
        return Verdict(score=1.0, passed=True, reason="fine", source=self.name)
"""
REGISTER = """
@hookimpl
def register_reward_sources(register):
    register(Source())
"""


@pytest.fixture
def make_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakePlugin:
    """Install a package for this test: ``make_plugin(name, body)`` gives the plugin's name."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(site)

    def make(
        name: str = "made",
        body: str = REGISTER,
        *,
        header: str = HEADER,
        distribution: str | None = None,
        requires: Sequence[str] = (),
    ) -> str:
        distribution = distribution or f"dist-{name}"
        module = f"made_{distribution}_{name}".replace("-", "_")
        (site / f"{module}.py").write_text(header + body)
        info = site / f"{distribution.replace('-', '_')}-1.0.dist-info"
        info.mkdir(exist_ok=True)
        needs = "".join(f"Requires-Dist: {need}\n" for need in requires)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n{needs}")
        (info / "entry_points.txt").write_text(f"[pangu_verl]\n{name} = {module}\n")
        monkeypatch.delitem(sys.modules, module, raising=False)
        return name

    return make
