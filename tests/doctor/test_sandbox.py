"""What is said of the sandbox of code rewards."""

from __future__ import annotations

import psutil
import pytest

from pangu_verl.doctor import sandbox
from pangu_verl.mars.code.launching import SandboxFailed
from pangu_verl.mars.code.pool import SandboxPool
from pangu_verl.mars.code.sandbox.layers import LAYERS, Standing


def test_layers_that_guard_everything_are_ok_with_those_that_lack() -> None:
    finding = sandbox.judged(Standing(frozenset({"landlock", "seccomp"}), {"user_namespace": "not permitted"}))
    assert finding.status == "ok"
    assert finding.found == "layers that hold: landlock, seccomp; lacking: user_namespace (not permitted)"


def test_what_nothing_guards_is_a_warning_with_what_to_do() -> None:
    finding = sandbox.judged(Standing(frozenset({"limits", "seccomp"}), {"landlock": "not implemented"}))
    assert finding.status == "warning"
    assert "will not be judged: nothing guards files" in finding.found
    assert "landlock (not implemented)" in finding.found
    assert "accept_unguarded" in finding.advice


def test_a_sandbox_that_does_not_start_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: SandboxPool) -> Standing:
        raise SandboxFailed("it ended")

    monkeypatch.setattr(SandboxPool, "standing", fail)
    (finding,) = sandbox.examine()
    assert (finding.name, finding.status) == ("sandbox", "warning")
    assert "it ended" in finding.found


def test_every_layer_of_this_machine_is_named_and_nothing_stays() -> None:
    before = psutil.Process().children(recursive=True)
    (finding,) = sandbox.examine()
    assert all(layer in finding.found for layer in LAYERS)
    assert psutil.Process().children(recursive=True) == before
