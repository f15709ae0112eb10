"""The program that tells whether our plugins boot: in a process as the driver is one, and in a worker of a new Ray.

``python -m pangu_verl.integrations.verl.boot_probe`` prints one marked line of JSON for each part as soon as it is
known, so that what came before a crash or a hang still counts. It runs apart from whoever asks, because importing verl,
torch or Ray may end the process. Invariant: the Ray that it starts is its own and small, and is shut down again.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from pangu_verl.errors import first_line

#: What a line of an answer begins with; libraries print as they like in between.
MARK = "pangu-verl boot: "
_WORKER_TIMEOUT_S = 120
_OBJECT_STORE_BYTES = 100 << 20


def main() -> None:
    """Print the line of each part: its name and either ``found`` or ``error``."""
    for part, look in _PARTS.items():
        try:
            answer = {"part": part, "found": look()}
        except Exception as error:  # noqa: BLE001 - the reason is what is asked for
            answer = {"part": part, "error": f"{type(error).__name__}: {first_line(error)}"}
        print(f"\n{MARK}{json.dumps(answer)}", flush=True)


def _driver() -> dict[str, str]:
    from pangu_verl.integrations.verl.boot_check import boot_outcomes

    return boot_outcomes()


def _features() -> list[str]:
    from pangu_verl.integrations.verl.features import missing_features

    return [f"{feature.module}.{feature.attribute}" for feature in missing_features()]


def _worker() -> dict[str, str]:
    import ray

    from pangu_verl.integrations.verl.boot_check import boot_outcomes

    # "local": a cluster that the environment names is not ours to put work on.
    ray.init(
        address="local",
        num_cpus=1,
        include_dashboard=False,
        log_to_driver=False,
        object_store_memory=_OBJECT_STORE_BYTES,
    )
    try:
        found: dict[str, str] = ray.get(ray.remote(num_cpus=0)(boot_outcomes).remote(), timeout=_WORKER_TIMEOUT_S)
    finally:
        ray.shutdown()
    return found


_PARTS: dict[str, Callable[[], Any]] = {"driver": _driver, "features": _features, "worker": _worker}


if __name__ == "__main__":
    main()
