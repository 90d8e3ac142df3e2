#!/bin/bash
# What Slurm executes, once for each task of a launch. Yours: change what your cluster needs.
#SBATCH --chdir=/scratch/runs/jobs/4f0c12/1
#SBATCH --cpus-per-task=8
#SBATCH --export=NONE
#SBATCH --gpus-per-node=1
#SBATCH --job-name=4f0c12/1
#SBATCH --mem=32G
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --open-mode=append
#SBATCH --output=/scratch/runs/jobs/4f0c12/1/output/0.txt
#SBATCH --partition=gpu
#SBATCH --requeue
#SBATCH --signal=B:USR1@120
#SBATCH --time=1-00:00:00
set -u

folder=/scratch/runs/jobs/4f0c12/1
task=${SLURM_ARRAY_TASK_ID:-0}
job=$SLURM_JOB_ID
unit=4f0c12
restarts=$((${SLURM_RESTART_COUNT:-0} + ${LABKIT_RESTARTS:-0}))
printf '\n=== %s: job %s on %s, restart %d, %s\n' "$unit" "$job" "$SLURMD_NODENAME" "$restarts" "$(date '+%F %T')"

# The last task to end takes the credentials with it.
end() {
  : >"$folder/ended/$task"
  if (($(find "$folder/ended" -type f | wc -l) >= 1)); then rm -f "$folder/credentials"; fi
  exit "$1"
}

is_stopped() {
  [[ -e $folder/stopped.$task ]]
}

# Once more under the same job id or, where Slurm does not allow that, as a new job after this one.
again() {
  local next deadline=$((SECONDS + 600)) # the controller may be restarting
  while ((SECONDS < deadline)); do
    scontrol requeue "$job" && exit 0
    next=$(sbatch --parsable --dependency="afterany:$job" --export="LABKIT_RESTARTS=$((restarts + 1))" \
      ${SLURM_ARRAY_TASK_ID:+--array="$task"} "$folder/job.sh") && echo "${next%%;*}" >>"$folder/jobs" && exit 0
    sleep 5
  done
}

# Bash looks at a signal only between commands: the work is a child, to which it is passed on.
signal=
child=
trap 'signal=USR1; [[ -z $child ]] || kill -USR1 "$child" 2>/dev/null' USR1
trap 'signal=TERM; [[ -z $child ]] || kill -TERM "$child" 2>/dev/null' TERM

if is_stopped; then end 75; fi
# shellcheck source=/dev/null
if ! . "$folder/credentials"; then
  echo "The credentials of this job are gone: launch it again."
  end 1
fi
export JOB_ID=$job
export DATA_PATH='/scratch/the group'"'"'s data'
export RUNS_PATH=/scratch/runs
module load cuda/12.8

code=75
if [[ -z $signal ]]; then
  /home/me/my-research/.venv/bin/local-launch "$unit" &
  child=$!
  signal=again
  while [[ -n $signal ]]; do
    signal=
    wait "$child"
    code=$?
  done
fi

# 75: interrupted, with a checkpoint; or by a signal that came before the work had begun.
case $code in 75 | 138 | 143) ;; *) end "$code" ;; esac
if is_stopped; then end "$code"; fi
if [[ $(squeue --noheader --jobs="$job" --format=%T) == COMPLETING ]]; then exit "$code"; fi # Slurm ends it
if ((restarts >= 100)); then
  echo "The limit of 100 restarts is reached: launch it again to go on."
  end "$code"
fi
again
echo "Slurm takes no restart: launch it again to go on."
end "$code"
