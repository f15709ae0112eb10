#!/usr/bin/env bash
# GRPO, Qwen3-8B, Megatron: trainer on 4 cards of 80 GB, rollout on 4 others.
# Not run on a device here: see README.md.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

arguments=(
    backend=cuda_megatron
    trainer.n_gpus_per_node=4
    actor_rollout_ref.rollout.nnodes=1
    actor_rollout_ref.rollout.n_gpus_per_node=4
    trainer.v1.trainer_mode=separate_async
    # Weights go over after 2 mini-batches of 32 prompts: data.train_batch_size=64.
    trainer.v1.separate_async.parameter_sync_step=2
    # The rollout is one batch ahead; the trainer waits for answers rather than dropping the late ones.
    trainer.v1.separate_async.num_warmup_batches=1
    trainer.v1.sampler.max_off_policy_threshold=2
    trainer.v1.sampler.max_off_policy_strategy=wait
    # verl puts servers on the trainer's devices too, for validation: its state leaves the device while they answer.
    actor_rollout_ref.actor.megatron.param_offload=true
    actor_rollout_ref.actor.megatron.optimizer_offload=true
    # 32 attention heads and 8 key-value heads divide by 4; 4 cards make 1 data-parallel group.
    actor_rollout_ref.actor.megatron.tensor_model_parallel_size=4
)

launch "${arguments[@]}" "$@"
