"""Whether a program's output is the expected one.

Invariant: texts compare token by token after splitting on white space. Whole numbers compare exactly; where one of the
two has a decimal point or an exponent, within 1e-6 relative or absolute (the project's rule for tests). Linear in both.
"""

from __future__ import annotations

import math
import re

TOLERANCE = 1e-6
#: A number that people or programs print; what is longer compares as text.
LONGEST_NUMBER_CHARACTERS = 400
_INTEGER = re.compile(r"[-+]?[0-9]+")
_NUMBER = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")


def same_output(output: str, expected: str) -> bool:
    found, wanted = output.split(), expected.split()
    return len(found) == len(wanted) and all(map(_same_token, found, wanted))


def _same_token(found: str, wanted: str) -> bool:
    if found == wanted:
        return True
    if max(len(found), len(wanted)) > LONGEST_NUMBER_CHARACTERS:
        return False
    if _INTEGER.fullmatch(found) and _INTEGER.fullmatch(wanted):
        return int(found) == int(wanted)
    if not (_NUMBER.fullmatch(found) and _NUMBER.fullmatch(wanted)):
        return False
    one, other = float(found), float(wanted)
    both_finite = math.isfinite(one) and math.isfinite(other)
    return both_finite and math.isclose(one, other, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
