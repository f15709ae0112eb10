"""Names that programs and tests find without importing them, as the sites that their tasks come from offer.

Invariant: no built-in is replaced: ``pow`` stays Python's although ``math`` has one too.
"""

from __future__ import annotations

import bisect
import builtins
import collections
import copy
import datetime
import functools
import heapq
import itertools
import math
import operator
import random
import re
import statistics
import string
import sys
import typing
from types import ModuleType
from typing import Any

_MODULES = (bisect, collections, copy, datetime, functools, heapq, itertools, math, operator, random, re, string, sys)
_OPENED = (string, re, collections, heapq, bisect, itertools, math, functools, typing)


def prelude() -> dict[str, Any]:
    """A new dictionary of the names."""
    return dict(_NAMES)


def _collected() -> dict[str, Any]:
    names: dict[str, Any] = {}
    for module in _OPENED:
        names |= {name: getattr(module, name) for name in _public(module) if not hasattr(builtins, name)}
    return names | {module.__name__: module for module in (*_MODULES, typing, statistics)}


def _public(module: ModuleType) -> list[str]:
    return list(getattr(module, "__all__", None) or (name for name in vars(module) if not name.startswith("_")))


_NAMES = _collected()  # before the warm process forks, so that no child spends time on it
