"""The plugins of pangu_verl as this process loads them: a broken one stops every run."""

from __future__ import annotations

from pangu_verl.doctor.findings import Finding
from pangu_verl.plugins import PluginRecord, load_plugins


def examine() -> list[Finding]:
    """One finding for each plugin that is installed or was asked for."""
    return [_finding(record) for record in load_plugins().records]


def _finding(record: PluginRecord) -> Finding:
    origin = f"{record.distribution} {record.version}, " if record.distribution else ""
    name = f"hooks of plugin {record.name}"
    if record.error is None:
        return Finding(name=name, status="ok", found=f"{origin}{', '.join(record.hooks) or record.status}")
    return Finding(
        name=name,
        status="problem",
        found=f"{origin}{record.error}",
        advice="mend or uninstall it, or name those to load in PANGU_VERL_PLUGINS",
    )
