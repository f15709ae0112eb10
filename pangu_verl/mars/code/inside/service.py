"""The program's side of an ``assert`` test: does on request what the test does with the program's objects.

Invariant: the test's own objects are never here; its functions are, as stand-ins that call back. Values leave as data
where they are data and as numbered objects where they are not.
"""

from __future__ import annotations

import asyncio
import builtins
import inspect
import operator
import os
import types
from typing import Any

from pangu_verl.mars.code.wire import Channel, WireError, decode, encode

OPERATORS = {
    **{name: getattr(operator, name) for name in ("lt", "le", "gt", "ge", "eq", "getitem", "setitem", "delitem")},
    **{name: getattr(operator, name) for name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow")},
    **{name: getattr(operator, name) for name in ("and_", "or_", "xor", "neg", "pos", "abs", "invert")},
    **{name: getattr(builtins, name) for name in ("len", "iter", "next", "bool", "str", "repr", "int", "float")},
    "isinstance": isinstance,
    "await": lambda awaitable: asyncio.run(_awaited(awaitable)),
    "enter": lambda manager: manager.__enter__(),
    "leave": lambda manager: manager.__exit__(None, None, None),
}


class Service:
    """Answers one test over ``link`` until it ends."""

    def __init__(self, link: Channel, module: types.ModuleType, given: dict[str, Any]) -> None:
        self._link = link
        self._module = module
        self._given = given
        self._objects: dict[int, Any] = {}
        self._numbers: dict[int, int] = {}

    def serve(self) -> None:
        self._link.send({"names": self._names()})
        while True:
            try:
                request = self._link.receive()
            except (EOFError, OSError):
                os._exit(0)
            self._link.send(self._answer(request))

    def _names(self) -> dict[str, Any]:
        names: dict[str, Any] = {}
        for name, value in list(self._module.__dict__.items()):
            if name.startswith("__") or (name in self._given and self._given[name] is value):
                continue
            try:
                names[name] = self._encoded(value)
            except Exception:  # noqa: BLE001 - the value may be of a class of the model's
                names[name] = self._refer(value)
        return names

    def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        try:
            arguments = [self._decoded(item) for item in request["arguments"]]
            value = self._done(request, arguments)
            answer = {"value": self._encoded(value)}
            if value is None and request["do"] == "call":  # by custom, what changes its arguments returns None
                answer["changed"] = [self._encoded(item) for item in arguments]
            return answer
        except BaseException as error:  # noqa: BLE001 - whatever it is, the test is told
            return {"error": _error(error)}

    def _done(self, request: dict[str, Any], arguments: list[Any]) -> Any:
        match request["do"]:
            case "call":
                keywords = {name: self._decoded(item) for name, item in request["keywords"].items()}
                return arguments.pop(0)(*arguments, **keywords)
            case "attribute":
                return getattr(*arguments)
            case "set_attribute":
                return setattr(*arguments)
            case _:
                return OPERATORS[request["do"]](*arguments)

    def _encoded(self, value: Any) -> Any:
        return encode(value, self._refer)

    def _refer(self, value: Any) -> Any:
        if isinstance(value, _TestFunction):
            return {"function": value.number}
        if isinstance(value, types.ModuleType):
            return {"module": value.__name__}
        if isinstance(value, type) and _is_builtin(value):
            return {"builtin": value.__name__}
        number = self._numbers.setdefault(id(value), len(self._numbers))
        self._objects[number] = value
        if isinstance(value, type) and issubclass(value, Exception):
            return {"exception": [number, *(kind.__name__ for kind in value.__mro__)]}
        return {"object": number}

    def _decoded(self, data: Any) -> Any:
        return decode(data, self._resolve)

    def _resolve(self, data: dict[str, Any]) -> Any:
        if "object" in data:
            return self._objects[data["object"]]
        if "builtin" in data:
            return getattr(builtins, data["builtin"])
        if "function" in data:
            return _TestFunction(self, data["function"])
        raise WireError(f"unknown kind of value {sorted(data)}")

    def call_back(self, number: int, arguments: Any, keywords: dict[str, Any]) -> Any:
        self._link.send(
            {
                "call_back": number,
                "arguments": [self._encoded(item) for item in arguments],
                "keywords": {name: self._encoded(item) for name, item in keywords.items()},
            }
        )
        while "do" in (answer := self._link.receive()):  # the test's function uses the program's objects
            self._link.send(self._answer(answer))
        if "error" in answer:
            raise _error_class(answer["error"])(answer["error"])
        return self._decoded(answer["value"])


class _TestFunction:
    """Stands for a function of the test."""

    def __init__(self, service: Service, number: int) -> None:
        self._service = service
        self.number = number

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        return self._service.call_back(self.number, arguments, keywords)


def _error(error: BaseException) -> dict[str, Any]:
    try:
        arguments = [encode(item, _as_text) for item in error.args]
    except Exception:  # noqa: BLE001 - the error may be of a class of the model's
        arguments = []
    return {"types": [kind.__name__ for kind in type(error).__mro__], "arguments": arguments}


def _is_builtin(kind: type) -> bool:
    return vars(builtins).get(kind.__name__) is kind


def _as_text(value: Any) -> str:
    return repr(value)[:200]


def _error_class(name: str) -> type[Exception]:
    found = getattr(builtins, name.partition(":")[0], None)
    return found if isinstance(found, type) and issubclass(found, Exception) else RuntimeError


async def _awaited(awaitable: Any) -> Any:
    return await awaitable if inspect.isawaitable(awaitable) else awaitable
