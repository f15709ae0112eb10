#!/usr/bin/env bash
# GRPO, Qwen3-8B, FSDP2: trainer and rollout take turns on 8 cards of 80 GB.
# Not run on a device here: see README.md.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

arguments=(
    backend=cuda
    trainer.n_gpus_per_node=8
    trainer.v1.trainer_mode=sync
    # The trainer's state leaves the device while the rollout answers.
    actor_rollout_ref.actor.fsdp_config.param_offload=true
    actor_rollout_ref.actor.fsdp_config.optimizer_offload=true
)

launch "${arguments[@]}" "$@"
