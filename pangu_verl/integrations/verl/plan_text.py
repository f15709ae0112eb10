"""A plan in lines for a terminal: every figure with where it comes from."""

from __future__ import annotations

from pangu_verl.integrations.verl.plan import Plan


def lines_of(plan: Plan) -> list[str]:
    """Aligned lines: what, how many, by which arithmetic."""
    pairs = [*_batches(plan), *_devices(plan), *_processes(plan), *_memory(plan)]
    width = max(len(name) for name, _ in pairs)
    return [f"{name:<{width}}  {text}" for name, text in pairs]


def _batches(plan: Plan) -> list[tuple[str, str]]:
    layout = plan.layout
    mini_batches = layout.prompts_per_step / layout.prompts_per_mini_batch
    worker = layout.trajectories_per_worker_mini_batch
    micro = layout.trajectories_per_micro_batch
    forward = "by tokens (use_dynamic_bsz)" if micro is None else f"{worker // micro} of {micro} trajectories"
    return [
        (
            "trajectories per step",
            f"{layout.prompts_per_step} prompts x {layout.responses_per_prompt} responses = "
            f"{layout.trajectories_per_step}",
        ),
        (
            "optimizer steps per step",
            f"{layout.prompts_per_step} prompts / mini-batches of {layout.prompts_per_mini_batch} = {mini_batches:g}",
        ),
        (
            "a worker's mini-batch",
            f"{layout.prompts_per_mini_batch} x {layout.responses_per_prompt} / {layout.data_parallel_groups} "
            f"data-parallel groups = {worker} trajectories",
        ),
        ("its forward passes", forward),
    ]


def _devices(plan: Plan) -> list[tuple[str, str]]:
    layout = plan.layout
    separate = layout.separate_servers * layout.devices_per_server
    split = f"{layout.trainer_workers} trainer" + (
        f" + {separate} rollout" if separate else ", shared with the rollout"
    )
    present = (
        "none counted from here" if plan.devices_present is None else f"{plan.devices_present} visible on this node"
    )
    servers = f"{layout.colocated_servers} on the trainer's devices"
    if layout.separate_servers:
        servers += f", {layout.separate_servers} on their own"
    return [
        ("devices", f"{layout.devices} ({split}); {present}"),
        ("rollout servers", f"{servers}; {layout.devices_per_server} devices each"),
    ]


def _processes(plan: Plan) -> list[tuple[str, str]]:
    named = ", ".join(f"{count} {name}" for name, count in plan.actors.items() if count)
    offered = plan.logical_cpus_offered or "not seen from here what is"
    return [
        ("processes", f"{sum(plan.actors.values())}: {named}"),
        ("logical processors", f"{plan.logical_cpus} asked of Ray, {offered} offered"),
    ]


def _memory(plan: Plan) -> list[tuple[str, str]]:
    rows = [("Ray's object store", f"{plan.object_store_gib:g} GiB of shared memory, taken as it is used")]
    state, weights = plan.trainer_state_gib_per_worker, plan.rollout_weights_gib_per_device
    if plan.parameters is None or state is None or weights is None:
        return [*rows, ("model", "its weights are not on this machine, so no memory is estimated")]
    return [
        *rows,
        ("model", f"{plan.parameters / 1e6:,.1f} million parameters"),
        ("trainer's fixed state", f"{_size(state)} a worker (weights, gradients, Adam)"),
        ("rollout's weights", f"{_size(weights)} a device, caches on top"),
    ]


def _size(gib: float) -> str:
    return f"{gib:.1f} GiB" if gib >= 1 else f"{1024 * gib:.1f} MiB"
