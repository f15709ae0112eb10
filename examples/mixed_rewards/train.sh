#!/usr/bin/env bash
# A short run on a CPU whose reward mixes maths, code and instruction rows, each judged by its own source.
#   MODEL=path/to/model STEPS=4 examples/mixed_rewards/train.sh [override ...]
# Run from the project's root after `make quickstart`, which leaves the model that is taken by default, and
# `.venv/bin/pip install ./plugins/pangu-verl-ifeval`.
set -euo pipefail
: "${MODEL:=${XDG_CACHE_HOME:-$HOME/.cache}/pangu_verl/SmolLM2-135M-Instruct}"
here=$(dirname "$0")
data=runs/mixed_rewards_rows
.venv/bin/python "$here/rows.py" "$data"
.venv/bin/pangu-verl train --config quickstart \
    data.train_files="$data/train.parquet" data.val_files="$data/validation.parquet" \
    actor_rollout_ref.model.path="$MODEL" data.max_response_length=96 \
    'pangu.rewards.terms=[repetition,truncation]' \
    trainer.total_training_steps="${STEPS:-4}" trainer.test_freq="${STEPS:-4}" trainer.save_freq=-1 "$@"
