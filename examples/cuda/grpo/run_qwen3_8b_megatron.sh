#!/usr/bin/env bash
# GRPO, Qwen3-8B, Megatron: trainer and rollout take turns on 8 cards of 80 GB.
# Not run on a device here: see README.md.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

arguments=(
    backend=cuda_megatron
    trainer.n_gpus_per_node=8
    trainer.v1.trainer_mode=sync
    # The trainer's state leaves the device while the rollout answers.
    actor_rollout_ref.actor.megatron.param_offload=true
    actor_rollout_ref.actor.megatron.optimizer_offload=true
    # 32 attention heads and 8 key-value heads divide by 4; 8 cards make 2 data-parallel groups.
    actor_rollout_ref.actor.megatron.tensor_model_parallel_size=4
)

launch "${arguments[@]}" "$@"
