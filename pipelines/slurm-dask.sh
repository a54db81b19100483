#!/bin/bash
# Any verb that takes --scheduler, on Dask workers that are the tasks of one Slurm job. A second run resumes.
#
#   sbatch --ntasks=50 pipelines/slurm-dask.sh epixs impute model genome.zarr --out genome.imputed.zarr
#   sbatch --ntasks=50 pipelines/slurm-dask.sh epixs fit-genome model genome.zarr --out factors.zarr
#   sbatch --ntasks=50 pipelines/slurm-dask.sh epixs export genome.imputed.zarr --bigwig tracks
#
# The job must start in a folder that all nodes share.
#SBATCH --job-name=epixs
#SBATCH --ntasks=20
#SBATCH --cpus-per-task=1
#SBATCH --mem-per-cpu=4G
#SBATCH --time=12:00:00
#SBATCH --requeue
set -euo pipefail
where="$PWD/scheduler-${SLURM_JOB_ID:?start this with sbatch}.json"
cleared() { kill $(jobs -p) 2>/dev/null || true; rm -f "$where"; }
trap cleared EXIT
rm -f "$where"
dask scheduler --port 0 --no-dashboard --scheduler-file "$where" &
# Without --kill-on-bad-exit=0, a worker that dies takes the others with it.
MALLOC_TRIM_THRESHOLD_=268435456 MALLOC_MMAP_THRESHOLD_=33554432 srun --kill-on-bad-exit=0 \
    dask worker --scheduler-file "$where" --nthreads 1 --no-dashboard --death-timeout 300 &
until address=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["address"])' "$where" 2>/dev/null); do
    kill -0 %1 2>/dev/null || { echo "error: the Dask scheduler has ended" >&2; exit 1; }
    sleep 1
done
"$@" --scheduler "$address"
