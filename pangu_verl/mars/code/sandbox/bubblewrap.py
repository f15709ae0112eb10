"""The warm process started through bubblewrap, where this process may make no namespaces itself but ``bwrap`` may.

That is so where the kernel or the administration refuses user namespaces to ordinary users and ``bwrap`` is installed
with root's rights. It gives namespaces for users, processes, network, mounts and System V objects, in which nothing can
be written; programs of one warm process share them, so it is ``seccomp.py`` that keeps programs apart.

Invariant: the layer holds only where the warm process looked around and found itself away from the machine's files,
processes and network; that ``bwrap`` was started proves nothing. The command line follows bubblewrap's manual; the
tests start a stand-in, and the real one was never run with it by us.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Mapping, Sequence

import pangu_verl
from pangu_verl.mars.code.sandbox.file_system import outermost, visible_paths

PROGRAM = "bwrap"
#: A user namespace only where it is to be had: ``bwrap`` with root's rights does the rest without. The warm process is
#: process 1, so that all processes end with it. Not --die-with-parent: that means the thread that started it.
_NAMESPACES = ("--unshare-user-try", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--as-pid-1")

#: Device and number of a folder, which tell two roots apart.
Root = tuple[int, int]


def wrapped(program: str, command: Sequence[str], paths: Sequence[str], links: Mapping[str, str]) -> list[str]:
    """``command`` through ``program``, with ``paths`` to be read and nothing else; ``links``: those that are links."""
    arguments = [program, *_NAMESPACES, "--cap-drop", "ALL"]
    for path in paths:
        if path in links:
            arguments += ["--symlink", links[path], path]
        else:
            arguments += ["--dev-bind" if path.startswith("/dev/") else "--ro-bind", path, path]
    return [*arguments, "--dir", "/tmp", "--remount-ro", "/", "--chdir", "/", *command]


def shown_paths() -> tuple[str, ...]:
    """What programs may read, the interpreter, and this package, which is imported only after the root was changed."""
    package = os.path.dirname(os.path.abspath(pangu_verl.__file__))
    environment = os.path.join(sys.prefix, "pyvenv.cfg")
    interpreter = [sys.executable, os.path.realpath(sys.executable), environment]
    return outermost(path for path in (*visible_paths(), *interpreter, package) if os.path.exists(path))


def links_among(paths: Sequence[str]) -> dict[str, str]:
    """The targets of those that are links to folders; a link to a file is shown as the file."""
    return {path: os.readlink(path) for path in paths if os.path.islink(path) and os.path.isdir(path)}


def own_root() -> Root:
    found = os.stat("/")
    return found.st_dev, found.st_ino


def still_seen(outside_root: Root) -> list[str]:
    """What of the machine this process sees although it was started through bubblewrap."""
    return unchanged(outside_root, own_root(), os.getpid(), [name for _, name in socket.if_nameindex()])


def unchanged(outside_root: Root, root: Root, pid: int, interfaces: Sequence[str]) -> list[str]:
    seen = {
        "files": root == outside_root,
        "processes": pid != 1,
        "network": any(name != "lo" for name in interfaces),
    }
    return [what for what, is_seen in seen.items() if is_seen]
