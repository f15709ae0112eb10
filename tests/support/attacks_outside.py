"""Programs that try to reach out of the sandbox, by family. Each prints "done" only when it succeeded.

Invariant: what they aim at is made for the test: the folder FOLDER with ``secret.txt``, the process PID and a listener
on PORT, which stand in the code and are filled in by ``aimed``. The controls are those of ``attacks.py``.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from attacks import IN_PROCESS, Attack

DONE = {"kind": "stdin", "input": "", "output": "done\n"}


def aimed(attack: Attack, *, folder: Path, pid: int, port: int) -> Attack:
    code = attack.code.replace("FOLDER", str(folder)).replace("PID", str(pid)).replace("PORT", str(port))
    return replace(attack, code=code)


def _attack(name: str, family: str, code: str, *without: str) -> Attack:
    return Attack(name, family, DONE, code + "\nprint('done')", without or IN_PROCESS)


_C = "import ctypes, os\nc = ctypes.CDLL(None, use_errno=True)\n"

READING = [
    _attack("reads a file", "reads files", "assert open('FOLDER/secret.txt').read()"),
    _attack(
        "reads a file, files unguarded",
        "reads files",
        "assert open('FOLDER/secret.txt').read()",
        "mount_namespace",
        "landlock",
    ),
    _attack("reads the accounts", "reads files", "assert open('/etc/passwd').read()"),
    _attack("reads the environment", "reads files", "assert open('/proc/self/environ', 'rb').read() is not None"),
    _attack("lists processes", "reads files", "import os\nassert 'PID' in os.listdir('/proc')"),
    _attack("climbs out by dots", "reads files", "assert open('/tmp/' + '../' * 30 + 'FOLDER/secret.txt').read()"),
    _attack(
        "follows a link",
        "reads files",
        "import os, tempfile\np = tempfile.mkdtemp() + '/l'\nos.symlink('FOLDER/secret.txt', p)\nassert open(p).read()",
    ),
]

WRITING = [
    _attack("writes a file", "writes files", "open('FOLDER/written', 'w').write('x')"),
    _attack("removes a file", "writes files", "import os\nos.remove('FOLDER/secret.txt')"),
    _attack("opens a file to all", "writes files", "import os\nos.chmod('FOLDER/secret.txt', 0o777)"),
    _attack(
        "writes into the library",
        "writes files",
        "import os\np = os.path.join(os.path.dirname(os.__file__), 'zz_attack_probe')\nopen(p, 'w').close()\nos.remove(p)",
    ),
    _attack(
        "writes to the root", "writes files", "import os\nos.mkdir('/zz_attack_probe')\nos.rmdir('/zz_attack_probe')"
    ),
]

NETWORK = [
    _attack("connects", "network", "import socket\nsocket.create_connection(('127.0.0.1', PORT), 2)"),
    _attack(
        "connects, network unguarded",
        "network",
        "import socket\nsocket.create_connection(('127.0.0.1', PORT), 2)",
        "seccomp",
        "network_namespace",
    ),
    _attack(
        "sends a datagram",
        "network",
        "import socket\nsocket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', PORT))",
    ),
    _attack("listens", "network", "import socket\nsocket.socket().bind(('127.0.0.1', 0))"),
    _attack("makes a socket", "network", "import socket\nsocket.socket()", "seccomp"),
]

PROCESSES = [
    _attack("kills a process", "processes", "import os, signal\nos.kill(PID, signal.SIGKILL)"),
    _attack("probes its parent", "processes", "import os\nassert os.getppid() > 0\nos.kill(os.getppid(), 0)"),
    _attack("signals all processes it may", "processes", "import os\nos.kill(PID, 0)\nos.kill(os.getppid(), 0)"),
    _attack("forks", "processes", "import os\nif os.fork() == 0: os._exit(0)", "seccomp"),
    _attack(
        "leaves a process behind",
        "processes",
        "import os, time\nif os.fork() == 0:\n os.setsid()\n if os.fork() == 0: time.sleep(5)\n os._exit(0)",
    ),
    _attack("runs a command", "processes", "import subprocess\nsubprocess.run(['true'], check=True)"),
    _attack("asks the shell", "processes", "import os\nassert os.system('exit 0') == 0"),
    _attack(
        "changes another's limits", "processes", "import resource\nresource.prlimit(PID, resource.RLIMIT_CORE, (0, 0))"
    ),
    _attack(
        "writes to another's memory",
        "processes",
        _C
        + "b = ctypes.create_string_buffer(8)\nclass V(ctypes.Structure): _fields_ = [('p', ctypes.c_void_p), ('n', ctypes.c_size_t)]\nv = V(ctypes.addressof(b), 0)\nassert c.process_vm_readv(PID, ctypes.byref(v), 1, ctypes.byref(v), 1, 0) == 0",
    ),
]

KERNEL = [
    _attack("makes a user namespace", "kernel", _C + "assert c.unshare(0x10000000) == 0", "seccomp"),
    _attack("changes the root", "kernel", "import os\nos.chroot('/usr')"),
    _attack("becomes root", "kernel", "import os\nos.setuid(0)"),
    _attack("attaches to a process", "kernel", _C + "assert c.ptrace(16, PID, 0, 0) == 0\nc.ptrace(17, PID, 0, 0)"),
    _attack(
        "opens memory outside its limit",
        "kernel",
        "import os\nos.write(os.memfd_create('x'), bytes(1 << 20))",
        "seccomp",
    ),
    _attack(
        "makes shared memory",
        "kernel",
        _C + "n = c.shmget(0, 4096, 0o1600)\nassert n >= 0\nc.shmctl(n, 0, 0)",
        "seccomp",
    ),
    _attack("makes keys", "kernel", _C + "assert c.syscall(250, 0, -3, 1) > 0", "seccomp"),
]

RESOURCES = [
    _attack("takes more memory", "resources", "x = bytearray(1500 << 20)", "limits"),
    _attack("opens many files", "resources", "f = [open('/dev/null') for _ in range(300)]", "limits"),
    _attack(
        "fills the disk",
        "resources",
        "import os\nf = open('filling', 'wb')\nfor _ in range(100): f.write(bytes(1 << 20))\nos.remove('filling')",
    ),
    _attack("raises its limits", "resources", "import resource\nresource.setrlimit(resource.RLIMIT_CPU, (3600, 3600))"),
]

#: Nobody but root can do these in process, so only root can see their controls.
ROOT_CONTROLS = frozenset(
    {"becomes root", "changes the root", "writes into the library", "writes to the root", "attaches to a process"}
)
OUTSIDE_ATTACKS = [*READING, *WRITING, *NETWORK, *PROCESSES, *KERNEL, *RESOURCES]
