#!/usr/bin/env bash
# Trains a tiny model made on the spot with the reward of this folder. Run from the project's root after `make setup`.
set -euo pipefail
here=$(dirname "$0")
.venv/bin/pangu-verl quickstart --model tiny \
    reward.custom_reward_function.path="$here/reward.py" \
    trainer.total_training_steps=4 trainer.test_freq=4 trainer.save_freq=-1 "$@"
