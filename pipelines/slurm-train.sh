#!/bin/bash
# Train on one machine with a GPU. A job that is preempted or runs out of time resumes when it is queued again
# (--requeue) or submitted again.
#
#   sbatch --export=ALL,MODEL=model pipelines/slurm-train.sh human.zarr mouse.zarr --exclude exclude.tsv
#
#SBATCH --job-name=epixs-train
#SBATCH --gpus=1
#SBATCH --cpus-per-task=8
#SBATCH --mem=32G
#SBATCH --time=24:00:00
#SBATCH --requeue
set -euo pipefail
if [ -d "$MODEL" ]; then
    epixs train "$@" --out "$MODEL" --resume
else
    epixs train "$@" --out "$MODEL"
fi
