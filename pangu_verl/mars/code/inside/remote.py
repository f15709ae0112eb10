"""The test's side of an ``assert`` test: stand-ins for the program's objects, and the link to its process.

Invariant: the program decides nothing about a comparison with data. A value that is data arrived as data; a stand-in
equals no data, is not ordered against data, and "in" is answered here from the items. Once the program's process is
lost, every use fails for good, also where the test catches exceptions.
"""

from __future__ import annotations

import builtins
import importlib
import sys
import types
from collections.abc import Callable, Generator, Iterator
from typing import Any

from pangu_verl.mars.code.wire import Channel, WireError, decode, encode


class ProgramLost(BaseException):
    """The program's process ended or broke the protocol. No ``except Exception`` of a test may hide it."""


class Link:
    """The connection to the program's process."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._functions: list[Callable[..., Any]] = []
        self._exceptions: dict[str, type[Exception]] = {}
        self.lost: str | None = None

    def names(self) -> dict[str, Any]:
        """The program's top-level names, none of which hides a built-in. Raises ``ProgramFailed``."""
        message = self._receive()
        if "error" in message:
            raise ProgramFailed(str(message.get("stage")), str(message["error"]))
        names = message.get("names")
        if not isinstance(names, dict):
            raise self._loss("its first message names nothing")
        own = {name: data for name, data in names.items() if not hasattr(builtins, name) and not name.startswith("__")}
        return {name: self._decoded(data) for name, data in own.items()}

    def ask(self, action: str, *arguments: Any, **keywords: Any) -> Any:
        message: dict[str, Any] = {"do": action, "arguments": [self._encoded(item) for item in arguments]}
        if action == "call":
            message["keywords"] = {name: self._encoded(item) for name, item in keywords.items()}
        self._send(message)
        while "call_back" in (answer := self._receive()):
            self._send(self._called_back(answer))
        if "error" in answer:
            raise self._remote_error(answer["error"], action)
        if "value" not in answer:
            raise self._loss("an answer without a value")
        self._write_back(arguments[1:], answer.get("changed"))
        return self._decoded(answer["value"])

    def _called_back(self, request: dict[str, Any]) -> dict[str, Any]:
        try:
            arguments = [self._decoded(item) for item in request["arguments"]]
            keywords = {name: self._decoded(item) for name, item in request["keywords"].items()}
            return {"value": self._encoded(self._functions[request["call_back"]](*arguments, **keywords))}
        except Exception as error:  # noqa: BLE001 - the program may handle what the test's function raises
            return {"error": f"{type(error).__name__}: {error}"}

    def _write_back(self, arguments: tuple[Any, ...], changed: Any) -> None:
        """Put what the program did to mutable arguments into the test's own objects."""
        for own, data in zip(arguments, changed if isinstance(changed, list) else [], strict=False):
            if not isinstance(own, list | dict | set):
                continue
            new = self._decoded(data)
            if type(new) is not type(own) or new == own:
                continue
            if isinstance(own, list):
                own[:] = new
            else:
                own.clear()
                own.update(new)

    def _remote_error(self, data: Any, action: str) -> Exception:
        names, arguments = data.get("types"), data.get("arguments")
        if not isinstance(names, list) or not isinstance(arguments, list):
            return self._noted(RuntimeError("an error that the program did not describe"))
        kind = next((found for name in names if (found := self._exception(name))), RuntimeError)
        if issubclass(kind, StopIteration | StopAsyncIteration) and action != "next":
            kind = RuntimeError  # it would end the test's own loop over its cases, as if none were left
        decoded = [self._decoded(item) for item in arguments]
        try:
            return self._noted(kind(*decoded))
        except Exception:  # noqa: BLE001 - the class wants other arguments
            return self._noted(RuntimeError(*decoded))

    def _noted(self, error: Exception) -> Exception:
        error.raised_by_program = True  # type: ignore[attr-defined]
        return error

    def _exception(self, name: Any) -> type[Exception] | None:
        found = self._exceptions.get(name) or getattr(builtins, str(name), None)
        return found if isinstance(found, type) and issubclass(found, Exception) else None

    # --- the wire ----------------------------------------------------------------------------------------------------

    def _encoded(self, value: Any) -> Any:
        return encode(value, self._refer)

    def _refer(self, value: Any) -> Any:
        if isinstance(value, RemoteObject):
            return {"object": object.__getattribute__(value, "_number")}
        if isinstance(value, type) and hasattr(value, "remote_number"):
            return {"object": value.remote_number}
        name = getattr(value, "__name__", None)
        if isinstance(name, str) and getattr(builtins, name, None) is value:
            return {"builtin": name}
        if isinstance(value, Iterator):
            return [self._encoded(item) for item in value]
        if callable(value):
            self._functions.append(value)
            return {"function": len(self._functions) - 1}
        raise WireError(f"a test's value of type {type(value).__name__} cannot cross to the program")

    def _decoded(self, data: Any) -> Any:
        try:
            return decode(data, self._resolve)
        except (WireError, RecursionError) as error:
            raise self._loss(str(error)) from None

    def _resolve(self, data: dict[str, Any]) -> Any:
        ((tag, content),) = data.items()
        if tag == "object" and isinstance(content, int):
            return RemoteObject(self, content)
        if tag == "function" and isinstance(content, int) and 0 <= content < len(self._functions):
            return self._functions[content]
        if tag == "builtin" and isinstance(found := getattr(builtins, str(content), None), type):
            return found
        if tag == "module" and isinstance(content, str) and content.partition(".")[0] in sys.stdlib_module_names:
            return _module(content)
        if tag == "module":
            return None
        if tag == "exception" and isinstance(content, list) and len(content) > 2:
            return self._exception_class(content[0], content[1:])
        raise WireError(f"unknown kind of value {tag}")

    def _exception_class(self, number: int, names: list[str]) -> type[Exception]:
        name = str(names[0])
        if name not in self._exceptions:
            base = next((found for other in names[1:] if (found := self._exception(other))), Exception)
            self._exceptions[name] = type(name, (base,), {"remote_number": number})
        return self._exceptions[name]

    def _send(self, message: Any) -> None:
        if self.lost:
            raise ProgramLost(self.lost)
        try:
            self._channel.send(message)
        except OSError:
            raise self._loss("its process ended") from None

    def _receive(self) -> dict[str, Any]:
        if self.lost:
            raise ProgramLost(self.lost)
        try:
            message = self._channel.receive()
        except (EOFError, OSError):
            raise self._loss("its process ended") from None
        except WireError as error:
            raise self._loss(str(error)) from None
        if not isinstance(message, dict):
            raise self._loss("a message that is no object")
        return message

    def _loss(self, reason: str) -> ProgramLost:
        self.lost = f"the program was lost: {reason}"
        return ProgramLost(self.lost)


class ProgramFailed(Exception):
    """The program's code did not run to its end; ``stage`` says how far it came."""

    def __init__(self, stage: str, message: str) -> None:
        super().__init__(message)
        self.stage = stage


def _module(name: str) -> types.ModuleType | None:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


_ASKED_SPECIAL_NAMES = frozenset({"__name__", "__qualname__", "__doc__", "__annotations__"})


class RemoteObject:
    """Stands for an object of the program: a function, a class, an instance, an iterator."""

    def __init__(self, link: Link, number: int) -> None:
        object.__setattr__(self, "_link", link)
        object.__setattr__(self, "_number", number)

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        return _ask(self, "call", *arguments, **keywords)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name not in _ASKED_SPECIAL_NAMES:
            raise AttributeError(name)  # libraries act on them: NumPy reads memory at the address they give
        return _ask(self, "attribute", name)

    def __setattr__(self, name: str, value: Any) -> None:
        _ask(self, "set_attribute", name, value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RemoteObject):
            return False
        return _number(self) == _number(other) or _ask(self, "eq", other) is True

    def __hash__(self) -> int:
        return hash(("remote", _number(self)))

    def __contains__(self, item: object) -> bool:
        return any(item == own for own in self)

    def __iter__(self) -> Iterator[Any]:
        iterator = _ask(self, "iter")
        return iterator if isinstance(iterator, RemoteObject) else iter(iterator)

    def __instancecheck__(self, instance: object) -> bool:
        return isinstance(instance, RemoteObject) and _ask(instance, "isinstance", self) is True

    def __bool__(self) -> bool:
        return _ask(self, "bool") is True

    def __enter__(self) -> Any:
        return _ask(self, "enter")

    def __exit__(self, *_: object) -> None:
        _ask(self, "leave")

    def __await__(self) -> Generator[Any, None, Any]:
        yield from ()
        return _ask(self, "await")


def _number(value: RemoteObject) -> int:
    number: int = object.__getattribute__(value, "_number")
    return number


def _ask(subject: RemoteObject, action: str, *arguments: Any, **keywords: Any) -> Any:
    link: Link = object.__getattribute__(subject, "_link")
    return link.ask(action, subject, *arguments, **keywords)


def _asking(action: str) -> Callable[..., Any]:
    return lambda self, *arguments: _ask(self, action, *arguments)


def _between_objects(action: str) -> Callable[[RemoteObject, object], Any]:
    """With data it is refused: the program would learn the test's number, and could answer to suit it."""

    def operate(self: RemoteObject, other: object) -> Any:
        return _ask(self, action, other) if isinstance(other, RemoteObject) else NotImplemented

    return operate


for _action in ("len", "next", "str", "repr", "int", "float", "neg", "pos", "abs", "invert"):
    setattr(RemoteObject, f"__{_action}__", _asking(_action))
for _action in ("getitem", "setitem", "delitem"):
    setattr(RemoteObject, f"__{_action}__", _asking(_action))
for _action in ("lt", "le", "gt", "ge", "add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "and_", "or_", "xor"):
    setattr(RemoteObject, f"__{_action.rstrip('_')}__", _between_objects(_action))
