"""The parts of the rewards benchmark, and the files that each reads below the data folder.

A part is a module that offers ``measure(data, repeats)``, which returns figures as JSON data, and ``table(figures)``,
whose first row is the heading. Importing this package loads no grader; importing a part does.
"""

from __future__ import annotations

SEED = 0

#: How our own sources are called beside the other graders.
OURS = "pangu_verl"

HUMAN_EVAL = "code/HumanEval.jsonl.gz"
MBPP = "code/mbpp.jsonl"
LEET_CODE = "code/rllm_leetcode.json"
GSM8K = "verify/gsm8k_model_solutions.jsonl"
HARD_VERIFY = "verify/hardverify_math_dev.jsonl"
MATH_VERIFY = "verify/math_verify_tests.jsonl"
OPEN_INSTRUCT = "verify/open_instruct_text.jsonl"
IFEVAL = "general/ifeval.jsonl"

FILES_BY_PART: dict[str, tuple[str, ...]] = {
    "maths": (GSM8K, HARD_VERIFY, MATH_VERIFY),
    "hostile": (),
    "code": (HUMAN_EVAL, MBPP, LEET_CODE),
    "mutants": (HUMAN_EVAL, MBPP),
    "attacks": (),
    "general": (OPEN_INSTRUCT,),
    "instructions": (IFEVAL,),
    "endurance": (),
}
DEFAULT_PARTS = tuple(part for part in FILES_BY_PART if part != "endurance")
