# shellcheck shell=bash
# What the four scripts of this folder share: the inputs, the node's environment, model, batch and rollout.
# Sourced by them, never run. Not run on a device here: see README.md.

: "${MODEL_PATH:?name the folder of Qwen3-8B, for example MODEL_PATH=/models/Qwen3-8B}"
: "${TRAIN_FILE:?name the parquet file to train on, for example TRAIN_FILE=/data/gsm8k/train.parquet}"
: "${TEST_FILE:?name the parquet file to validate on, for example TEST_FILE=/data/gsm8k/test.parquet}"
experiment=$(basename "$0" .sh)
CKPTS_DIR=${CKPTS_DIR:-${RAY_DATA_HOME:?name the folder for runs, or one run by CKPTS_DIR}/ckpts/$experiment}

export ASCEND_RT_VISIBLE_DEVICES=${ASCEND_RT_VISIBLE_DEVICES:-0,1,2,3,4,5,6,7}
# The workers come to HCCL minutes apart, each after loading 8 billion parameters; its own limit is 120 s.
export HCCL_CONNECT_TIMEOUT=${HCCL_CONNECT_TIMEOUT:-1800}
# Level 2 refuses to capture graphs, and the rollout runs in one.
export TASK_QUEUE_ENABLE=${TASK_QUEUE_ENABLE:-1}
# Every process stays on the cores next to its NPU.
export CPU_AFFINITY_CONF=${CPU_AFFINITY_CONF:-1}

shared=(
    data.train_files="$TRAIN_FILE"
    data.val_files="$TEST_FILE"
    data.max_prompt_length=1024
    data.max_response_length=3072
    data.filter_overlong_prompts=true
    data.train_batch_size=64
    actor_rollout_ref.model.path="$MODEL_PATH"
    actor_rollout_ref.actor.optim.lr=1e-6
    actor_rollout_ref.actor.ppo_mini_batch_size=32
    # Two sequences of the full length; the logits of more would be the largest thing on the device.
    actor_rollout_ref.actor.use_dynamic_bsz=true
    actor_rollout_ref.actor.ppo_max_token_len_per_gpu=8192
    actor_rollout_ref.rollout.n=8
    actor_rollout_ref.rollout.tensor_model_parallel_size=2
    actor_rollout_ref.rollout.gpu_memory_utilization=0.7
    actor_rollout_ref.rollout.max_model_len=4096
    # One graph for decoding alone: what verl's own nightly runs of this model on Ascend use.
    +actor_rollout_ref.rollout.engine_kwargs.vllm.compilation_config.cudagraph_mode=FULL_DECODE_ONLY
    'actor_rollout_ref.rollout.cudagraph_capture_sizes=[8,16,32,64,128]'
    trainer.experiment_name="$experiment"
    trainer.total_training_steps=100
    trainer.test_freq=20
    # One checkpoint with the state of the optimizer takes about 100 GiB.
    trainer.save_freq=50
    trainer.max_actor_ckpt_to_keep=2
)

# launch ARGUMENTS...: train with them, or with DRY_RUN=1 show what would be trained.
launch() {
    local mode=()
    if [[ ${DRY_RUN:-0} != 0 ]]; then mode=(--dry-run); fi
    exec pangu-verl train --run-dir "$CKPTS_DIR" "${mode[@]}" "${shared[@]}" "$@"
}
