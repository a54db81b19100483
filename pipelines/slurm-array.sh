#!/bin/bash
# Thousands of bigWigs as a Slurm job array, without Dask. Each job makes its share of the tiles, and the last job
# to finish completes the store. A job that fails or is preempted can be run again at any time.
#
#   sbatch --export=ALL,CATALOG=catalog.tsv,SPECIES=human,REGIONS=human.bed,STORE=human.zarr pipelines/slurm-array.sh
#
#SBATCH --job-name=epixs-ingest
#SBATCH --array=1-100
#SBATCH --cpus-per-task=1
#SBATCH --mem=2G
#SBATCH --time=12:00:00
#SBATCH --requeue
set -euo pipefail
epixs ingest "$CATALOG" --species "$SPECIES" --regions "$REGIONS" --out "$STORE" \
    --tile "$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT"
