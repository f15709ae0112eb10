"""pytest plugin for verl's own tests: Ray with many logical cores, since they ask for more than a laptop has."""

import pytest


@pytest.fixture(autouse=True, scope="session")
def logical_cores():
    import ray

    original = ray.init

    def init(*args, **kwargs):
        kwargs.setdefault("num_cpus", 32)
        return original(*args, **kwargs)

    ray.init = init
    yield
    ray.init = original
