#!/usr/bin/env bash
# GRPO, Qwen3-8B, FSDP2: trainer and rollout take turns on 8 NPUs of 64 GB.
# Not run on a device here: see README.md.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

arguments=(
    backend=npu_fsdp
    trainer.n_gpus_per_node=8
    trainer.v1.trainer_mode=sync
    # The trainer's state leaves the device while the rollout answers.
    actor_rollout_ref.actor.fsdp_config.param_offload=true
    actor_rollout_ref.actor.fsdp_config.optimizer_offload=true
    # The embedding goes to the rollout in fp32, 2374 MiB in one piece, and verl's own limit is 2048.
    actor_rollout_ref.rollout.checkpoint_engine.update_weights_bucket_megabytes=4096
)

launch "${arguments[@]}" "$@"
