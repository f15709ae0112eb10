"""The sandbox in which the code reward runs model-written programs: which layers hold on this machine.

The layers are really entered, in a process that ends with the examination; no program is run.
"""

from __future__ import annotations

from pangu_verl.doctor.findings import Finding
from pangu_verl.mars.code.launching import SandboxFailed
from pangu_verl.mars.code.pool import SandboxPool
from pangu_verl.mars.code.sandbox.layers import Standing

_NAME = "sandbox"


def examine() -> list[Finding]:
    """One finding, within a second on a machine at rest."""
    pool = SandboxPool(slots=1)
    try:
        standing = pool.standing()
    except SandboxFailed as error:
        return [_refused(str(error), "look at what it wrote above; code rewards need Linux 5.10 or later")]
    finally:
        pool.close()
    return [judged(standing)]


def judged(standing: Standing) -> Finding:
    """What the layers mean for code rewards."""
    found = _described(standing)
    if not standing.unguarded:
        return Finding(name=_NAME, status="ok", found=found)
    advice = (
        "allow unprivileged user namespaces (in a container: --security-opt seccomp=unconfined), or use a kernel with "
        "Landlock and seccomp; pangu.rewards.options.code.accept_unguarded=true runs programs all the same"
    )
    return _refused(f"nothing guards {', '.join(standing.unguarded)}; {found}", advice)


def _refused(found: str, advice: str) -> Finding:
    return Finding(name=_NAME, status="warning", found=f"code rows will not be judged: {found}", advice=advice)


def _described(standing: Standing) -> str:
    held = ", ".join(sorted(standing.held)) or "none"
    lacking = "; ".join(f"{layer} ({reason})" for layer, reason in sorted(standing.lacking.items()))
    return f"layers that hold: {held}" + (f"; lacking: {lacking}" if lacking else "")
