"""A test's hold on the response, which lives in another process.

Invariant: data come as values of Python's own types. What is no data is a ``Remote``, which never says of itself that
it equals, contains, is true or belongs to a class: such words would be the response's own.
"""

from __future__ import annotations

import builtins
import json
import os
import subprocess
import sys
from typing import Any

from pangu_verl_sandboxfusion.inside.wire import from_wire, to_wire


class Unsupported(BaseException):
    """The test asks for what cannot cross the pipe. Above ``Exception``, so that no test catches it."""


class Broken(BaseException):
    """The child is gone or speaks another language."""


class Link:
    """The pipe to the child that holds the response."""

    def __init__(self, folder: str) -> None:
        theirs, self._out = os.pipe()
        self._in, back = os.pipe()
        self.calls = 0
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pangu_verl_sandboxfusion.inside.response", str(theirs), str(back)],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(theirs, back),
        )
        os.close(theirs)
        os.close(back)
        self._writer = os.fdopen(self._out, "w", encoding="utf-8")
        self._reader = os.fdopen(self._in, encoding="utf-8")

    def ask(self, request: dict[str, Any]) -> Any:
        try:
            self._writer.write(json.dumps(request) + "\n")
            self._writer.flush()
            reply = json.loads(self._reader.readline())
            if "error" not in reply:
                return self._value(reply, request)
            name, message = (str(part) for part in reply["error"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise Broken from None
        kind: Any = getattr(builtins, name, None)
        known = isinstance(kind, type) and issubclass(kind, Exception)
        raise (kind if known else RuntimeError)(message)

    def operate(self, operation: str, *arguments: Any, **named: Any) -> Any:
        self.calls += 1
        request = {
            "operation": operation,
            "arguments": [to_wire(argument, _by_identity) for argument in arguments],
            "named": {name: to_wire(argument, _by_identity) for name, argument in named.items()},
        }
        value, after = self.ask(request)
        if operation == "call" and value is None:
            # What works in place gives nothing back. Of what gives a value, the test's own data stay as they are.
            for argument, changed in zip(arguments, after):  # noqa: B905 - Python 3.9 knows no strict
                _take_over(argument, changed)
        return value

    def _value(self, reply: dict[str, Any], request: dict[str, Any]) -> Any:
        value = from_wire(reply["value"], self._remote)
        if "operation" not in request:
            return value
        return value, [from_wire(argument, self._remote) for argument in reply["arguments"]]

    def _remote(self, number: int) -> Remote:
        return Remote(self, int(number))


class Remote:
    """Something of the response that is no data: a function, a class, an object."""

    def __init__(self, link: Link, number: int) -> None:
        self.__dict__["_link"], self.__dict__["_number"] = link, number

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return self._link.operate("call", self, *arguments, **named)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self._link.operate("getattr", self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        self._link.operate("setattr", self, name, value)

    def __iter__(self) -> Any:
        return iter(self._link.operate("drain", self))

    def __getitem__(self, key: Any) -> Any:
        return self._link.operate("getitem", self, key)

    def __len__(self) -> int:
        return int(self._link.operate("len", self))

    def __str__(self) -> str:
        return str(self._link.operate("str", self))

    def __repr__(self) -> str:
        return str(self._link.operate("repr", self))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Remote):
            return False
        if self._number != other._number:
            raise Unsupported("the test compares two objects of the response, whose equality is the response's own")
        return True

    def __hash__(self) -> int:
        return hash(self._number)

    def __bool__(self) -> bool:
        raise Unsupported("the test asks for the truth of an object of the response")

    def __instancecheck__(self, instance: Any) -> bool:
        raise Unsupported("the test asks for the class of an object of the response")

    def _refuse(self, *_: Any) -> Any:
        raise Unsupported("the test calculates with or orders an object of the response")

    __lt__ = __le__ = __gt__ = __ge__ = _refuse
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = _refuse
    __floordiv__ = __rfloordiv__ = __mod__ = __rmod__ = __pow__ = __rpow__ = __neg__ = __abs__ = __float__ = _refuse


def _by_identity(value: Any) -> Any:
    if isinstance(value, Remote):
        return {"o": value._number}
    raise Unsupported(f"the test hands over a {type(value).__name__}, which is no data")


def _take_over(argument: Any, changed: Any) -> None:
    if type(argument) is list and type(changed) is list:
        argument[:] = changed
    elif type(argument) in (dict, set) and type(changed) is type(argument):
        argument.clear()
        argument.update(changed)
