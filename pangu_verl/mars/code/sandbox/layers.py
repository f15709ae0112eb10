"""Which layers of isolation hold on this machine, and how a process enters them.

Invariant: a layer counts as held only after a process really entered it, so a kernel or a container that refuses one
is seen, not guessed. What held at the trial has to hold for every program: a later failure ends that program before it
is given any code. The order matters, because each layer takes away what the ones before it need.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from pangu_verl.mars.code.sandbox import (
    bubblewrap,
    control_groups,
    file_system,
    landlock,
    limits,
    namespaces,
    privileges,
    seccomp,
)

#: Entered once by the warm process, in this order.
WARM_LAYERS = ("user_namespace", "network_namespace", "process_namespace", "mount_namespace")
#: Entered by each program.
PROGRAM_LAYERS = ("ipc_namespace", "limits", "landlock", "privileges", "seccomp")
LAYERS = ("bubblewrap", *WARM_LAYERS, "control_group", *PROGRAM_LAYERS)
#: What has to be guarded, and the layers any of which guards it. Bubblewrap does not keep programs from each other.
GUARDS: Mapping[str, frozenset[str]] = {
    "files": frozenset({"mount_namespace", "landlock", "bubblewrap"}),
    "network": frozenset({"network_namespace", "seccomp", "bubblewrap"}),
    "processes": frozenset({"process_namespace", "seccomp"}),
}


@dataclass(frozen=True, slots=True)
class Standing:
    """The layers that hold, and why each other one does not."""

    held: frozenset[str]
    lacking: Mapping[str, str] = field(default_factory=dict)

    @property
    def unguarded(self) -> list[str]:
        """What of ``GUARDS`` nothing guards. Limits alone leave all of it open."""
        return [what for what, layers in GUARDS.items() if not layers & self.held]


@dataclass(slots=True)
class Entered:
    """What the warm process entered: why each other layer does not hold, and what it needs of those that do."""

    lacking: dict[str, str] = field(default_factory=dict)
    process_namespaces: namespaces.ProcessNamespaces | None = None
    group: control_groups.ControlGroup | None = None

    def remove_group(self) -> None:
        if self.group is not None:
            self.group.remove()

    def try_layer(self, name: str, without: Collection[str], enter: Callable[[], None]) -> None:
        try:
            _refuse(name, without)
            enter()
        except OSError as error:
            self.lacking[name] = _reason(error)


def enter_warm_layers(without: Collection[str], outside_root: bubblewrap.Root | None) -> Entered:
    """Enter what can be entered. ``outside_root`` is the machine's, where bubblewrap started this process."""
    entered = Entered()
    entered.try_layer("bubblewrap", without, lambda: _look_around(outside_root))
    if "bubblewrap" not in entered.lacking:
        entered.lacking |= dict.fromkeys(WARM_LAYERS, "bubblewrap takes its place")
    entered.try_layer("control_group", without, lambda: _make_group(entered))  # while its files are in sight
    steps = {
        "user_namespace": namespaces.enter_user_namespace,
        "network_namespace": namespaces.enter_network_namespace,
        "process_namespace": lambda: _become_first_process(entered),
        "mount_namespace": file_system.enter_minimal_root,
    }
    for name in WARM_LAYERS:
        if name not in entered.lacking:
            entered.try_layer(name, without, steps[name])
    if entered.group is not None:
        entered.try_layer("control_group", without, entered.group.enter)  # by now whoever removes it is outside
    file_system.visible_paths()  # looked up now, while everything can still be read
    return entered


def _look_around(outside_root: bubblewrap.Root | None) -> None:
    if outside_root is None:
        raise OSError(0, "asked only where user namespaces are refused")
    if seen := bubblewrap.still_seen(outside_root):
        raise OSError(0, f"was started and left the machine's {', '.join(seen)} in sight")


def _make_group(entered: Entered) -> None:
    entered.group = control_groups.make_group()


def _become_first_process(entered: Entered) -> None:
    namespaces.become_first_process(entered.remove_group)
    entered.process_namespaces = namespaces.ProcessNamespaces()


def enter_program_layers(held: Collection[str], bounds: limits.Limits) -> None:
    """Enter all that held at the trial; raises ``OSError`` at the first that does not hold now."""
    for name, enter in _program_steps(held, bounds):
        if name in held:
            enter()


def try_program_layers(warm: Collection[str], without: Collection[str]) -> dict[str, str]:
    """Enter each in a process made for the trial; the reasons of those that do not hold."""
    lacking: dict[str, str] = {}
    for name, enter in _program_steps(warm, limits.Limits()):
        try:
            _refuse(name, without)
            enter()
        except OSError as error:
            lacking[name] = _reason(error)
    return lacking


def _program_steps(held: Collection[str], bounds: limits.Limits) -> list[tuple[str, Callable[[], None]]]:
    def restrict_files() -> None:
        if "mount_namespace" in held:
            raise OSError(0, "not needed beside a mount namespace")
        landlock.restrict_files()

    return [
        ("ipc_namespace", namespaces.enter_ipc_namespace),
        ("mount_namespace", file_system.enter_scratch_folder if "mount_namespace" in held else _nothing),
        ("limits", lambda: limits.apply_limits(bounds)),
        ("landlock", restrict_files),  # before the rights to open what it shows are gone
        ("privileges", privileges.drop_privileges),
        ("seccomp", seccomp.install_filter),
    ]


def _nothing() -> None:
    raise OSError(0, "not entered by the warm process")


def _refuse(name: str, without: Collection[str]) -> None:
    if name in without:
        raise OSError(0, "switched off")


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
