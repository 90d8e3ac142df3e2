#!/usr/bin/env bash
# What a machine without a scheduler executes, once for each launch. Yours: change what your machine needs.
set -u
cd -- '/data/my runs/.apptainer/aa11-0a1b' || exit 1
echo "$$" >pid
# shellcheck source=/dev/null
. ./credentials
rm -f credentials # from here on they are in memory alone
export JOB_ID=aa11-0a1b

# Prints the number of the next unit; there is none where it fails.
take() {
  {
    flock 9
    local number
    number=$(<next)
    ((number < 3)) || return 1
    echo $((number + 1)) >next
    echo "$number"
  } 9>lock
}

# Whether somebody has asked for the end of a unit, or of all.
is_stopped() {
  [[ -e stopped || -e stopped.$1 ]]
}

# Executes a unit, again and again where it was interrupted and nobody has asked for its end.
execute() {
  local number=$1 restarts=0 code=75
  while ((restarts <= 100)) && ! is_stopped "$number"; do
    printf '\n=== %s, restart %d, %s\n' "$number" "$restarts" "$(date '+%F %T')"
    JOB_COMPLETION_INDEX=$number '/opt/my env/bin/python' bootstrap.py '{"launch": "aa11", "sha256": "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff", "trials": [[0, 1], [4, 4]], "nodes": 1, "processes": 2}' &
    echo "$!" >"running/$number"
    ! is_stopped "$number" || kill -USR1 "$!" # it was asked for in between
    wait "$!"
    code=$?
    rm -f "running/$number"
    case $code in # 75: interrupted, with a checkpoint; or by a signal that came before the work had begun
      75 | 138 | 143) restarts=$((restarts + 1)) ;;
      *) break ;;
    esac
  done
  echo "$code" >"ended/$number"
}

# Executes one unit after the other on some of the accelerators.
work() {
  local number
  if [[ -n $1 ]]; then export CUDA_VISIBLE_DEVICES=$1; fi
  while [[ ! -e stopped ]] && number=$(take); do
    execute "$number" >>"output/$number.txt" 2>&1
  done
}

work 0,1 &
work 2,3 &
wait
rm -f pid
