#!/bin/bash
# What Slurm executes, once for each task of a launch. Yours: change what your cluster needs.
#SBATCH --account='a b'
#SBATCH --array=0-2,5%2
#SBATCH --chdir=/scratch/100%/jobs/rates-1/0+1000
#SBATCH --exclusive
#SBATCH --export=NONE
#SBATCH --job-name=rates-1/0+1000
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --open-mode=append
#SBATCH --output=/scratch/100%%/jobs/rates-1/0+1000/output/%a.txt
#SBATCH --qos=high
#SBATCH --requeue
#SBATCH --signal=B:USR1@60
set -u

folder=/scratch/100%/jobs/rates-1/0+1000
task=${SLURM_ARRAY_TASK_ID:-0}
job=${SLURM_ARRAY_JOB_ID}_$task # the last task's own number is that of the whole array
unit=rates-1/$((1000 + task))
restarts=$((${SLURM_RESTART_COUNT:-0} + ${LABKIT_RESTARTS:-0}))
printf '\n=== %s: job %s on %s, restart %d, %s\n' "$unit" "$job" "$SLURMD_NODENAME" "$restarts" "$(date '+%F %T')"

# The last task to end takes the credentials with it.
end() {
  : >"$folder/ended/$task"
  if (($(find "$folder/ended" -type f | wc -l) >= 4)); then rm -f "$folder/credentials"; fi
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
export OMP_NUM_THREADS=1
export TRAINING_IMAGE='/images/my image.sif'

code=75
if [[ -z $signal ]]; then
  apptainer exec --bind /scratch/100%/jobs/rates-1/0+1000 --pwd /scratch/100%/jobs/rates-1/0+1000 '/images/my image.sif' python bootstrap.py '{"launch": "rates-1", "sha256": "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff", "trials": null, "nodes": 1, "processes": 1}' "$unit" &
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
if ((restarts >= 3)); then
  echo "The limit of 3 restarts is reached: launch it again to go on."
  end "$code"
fi
again
echo "Slurm takes no restart: launch it again to go on."
end "$code"
