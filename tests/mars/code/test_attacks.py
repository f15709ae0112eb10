"""The attack suite: nothing is paid, nothing outside is touched, and each attack works where it is meant to work."""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from attacks import ASSERT, CALL, STDIN, Attack
from attacks_grader import PAID_ATTACKS
from attacks_outside import OUTSIDE_ATTACKS, ROOT_CONTROLS, aimed
from in_process_grader import pays

from pangu_verl.types import Verdict

Judge = Callable[..., Verdict]

CPU_SECONDS = 2
#: A control has to get through: filling 1.5 GiB takes seconds on a busy machine.
CONTROL_CPU_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Target:
    """What attacks aim at. The folder can be entered by everybody, so that only the sandbox stands before it."""

    folder: Path
    victim: subprocess.Popen[bytes]
    listener: socket.socket

    def aim(self, attack: Attack) -> Attack:
        return aimed(attack, folder=self.folder, pid=self.victim.pid, port=self.listener.getsockname()[1])


@pytest.fixture
def target() -> Iterator[Target]:
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as listener:
        os.chmod(folder, 0o755)
        (Path(folder) / "secret.txt").write_text("secret")
        listener.setblocking(False)
        victim = subprocess.Popen(["sleep", "600"])
        yield Target(Path(folder), victim, listener)
        victim.kill()
        victim.wait()


def test_suite_is_broad() -> None:
    attacks = [*PAID_ATTACKS, *OUTSIDE_ATTACKS]
    assert len(attacks) >= 40
    assert len({attack.family for attack in attacks}) >= 12
    assert len({attack.name for attack in attacks}) == len(attacks)


@pytest.mark.parametrize("test", [ASSERT, CALL, STDIN], ids=lambda test: test["kind"])
def test_in_process_grader_does_not_pay_for_an_honest_mistake(test: dict[str, object], tmp_path: Path) -> None:
    assert not pays("def f(n): return 0\nif __name__ == '__main__': print(0)", test, tmp_path)


@pytest.mark.parametrize("attack", PAID_ATTACKS, ids=lambda attack: attack.name)
def test_attack_is_not_paid(attack: Attack, judge: Judge) -> None:
    verdict = judge(attack.code, attack.test, cpu_seconds=CPU_SECONDS)
    assert (verdict.passed, verdict.score) == (False, 0.0)


@pytest.mark.parametrize("attack", PAID_ATTACKS, ids=lambda attack: attack.name)
def test_attack_is_paid_in_process(attack: Attack, tmp_path: Path) -> None:
    assert pays(attack.code, attack.test, tmp_path)


@pytest.mark.parametrize("attack", OUTSIDE_ATTACKS, ids=lambda attack: attack.name)
def test_attack_reaches_nothing_outside(attack: Attack, judge: Judge, target: Target) -> None:
    verdict = judge(target.aim(attack).code, attack.test, cpu_seconds=CPU_SECONDS)
    assert (verdict.passed, verdict.score) == (False, 0.0)
    assert target.victim.poll() is None
    assert [path.read_text() for path in target.folder.iterdir()] == ["secret"]
    with pytest.raises(BlockingIOError):
        target.listener.accept()


@pytest.mark.parametrize("attack", OUTSIDE_ATTACKS, ids=lambda attack: attack.name)
def test_attack_works_in_its_control(attack: Attack, judge_without: Judge, target: Target) -> None:
    if attack.name in ROOT_CONTROLS and os.geteuid() != 0:
        pytest.skip("only root can do this in process")
    if attack.without:
        verdict = judge_without(attack.without, target.aim(attack).code, attack.test, cpu_seconds=CONTROL_CPU_SECONDS)
        assert verdict.passed, verdict.reason
    else:
        assert pays(target.aim(attack).code, attack.test, target.folder)


def test_pool_judges_as_before_after_all_attacks(judge: Judge) -> None:
    for attack in [*PAID_ATTACKS[-8:], *OUTSIDE_ATTACKS[-8:]]:
        judge(attack.code, attack.test, cpu_seconds=CPU_SECONDS)
    assert judge("def f(n): return 1729", ASSERT, CALL).passed
