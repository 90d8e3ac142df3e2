#!/usr/bin/env bash
# Usage: slurm.sh start FOLDER [NODES] | kill-node FOLDER NODE | start-node FOLDER NODE | kill-controller FOLDER |
#        start-controller FOLDER | stop FOLDER
# Example: settings=$(tests/services/slurm.sh start /tmp/slurm 2) && eval "$settings"
#
# A Slurm cluster on the loopback interface: munge, a controller and so many nodes, n1, n2, ..., which are all this machine.
# `start` prints the settings of its clients as `export` lines; `stop` ends the jobs and these daemons. On Debian it needs:
#   apt-get install --no-install-recommends slurmctld slurmd slurm-client munge
set -Eeuo pipefail
PATH=$PATH:/usr/sbin:/sbin

# Usage: fail SENTENCE
# Example: fail "The folder is missing."
fail() {
  printf '%s\n' "$1" >&2
  exit 1
}

# Usage: find_free_port COUNT
# Example: find_free_port 3
# Prints the first of so many free ports in a row, below those that the kernel hands out itself.
find_free_port() {
  python3 -c '
import contextlib, random, socket, sys
count = int(sys.argv[1])
while True:
    first = random.randrange(18000, 32000 - count)
    with contextlib.ExitStack() as listeners, contextlib.suppress(OSError):
        for port in range(first, first + count):
            listeners.enter_context(socket.create_server(("127.0.0.1", port)))
        print(first)
        break' "$1"
}

# Usage: write_settings FOLDER NODES
# Example: write_settings /tmp/slurm 2
# A requeued job may start again only `cred_expire` seconds later; the partition `low` gives way to `main`.
write_settings() {
  local folder=$1 nodes=$2 host user port
  host=$(hostname -s)
  user=$(id -un)
  port=$(find_free_port $((nodes + 1)))
  : >"$folder/gres.conf"
  echo 'CgroupPlugin=cgroup/v1' >"$folder/cgroup.conf" # used by nothing, but looked for
  cat >"$folder/slurm.conf" <<SETTINGS
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$port
SlurmUser=$user
SlurmdUser=$user
AuthType=auth/munge
AuthInfo=socket=$folder/munge/socket,cred_expire=5
CredType=cred/munge
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool/%n
SlurmctldPidFile=$folder/controller.pid
SlurmdPidFile=$folder/%n.pid
SlurmctldLogFile=$folder/log/controller
SlurmdLogFile=$folder/log/%n
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1,sched_min_interval=0,batch_sched_delay=0
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmctldParameters=preempt_send_user_signal
SlurmdParameters=config_overrides
MaxArraySize=${MAX_ARRAY_SIZE:-1001}
JobRequeue=1
ReturnToService=2
SlurmdTimeout=10
KillWait=5
MinJobAge=${MIN_JOB_AGE:-600}
NodeName=n[1-$nodes] NodeHostname=$host NodeAddr=127.0.0.1 Port=[$((port + 1))-$((port + nodes))] CPUs=2 RealMemory=4000 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES DefaultTime=10 PriorityTier=10 PreemptMode=OFF
PartitionName=low Nodes=ALL DefaultTime=10 PriorityTier=1 GraceTime=10
SETTINGS
  sed -i 's/\[\([0-9]*\)-\1\]/\1/g' "$folder/slurm.conf" # a range of one has no brackets
}

# Usage: start_controller FOLDER [OPTION]
# Example: start_controller /tmp/slurm
start_controller() {
  slurmctld "${@:2}" -f "$1/slurm.conf" </dev/null &>>"$1/log/start"
}

# Usage: start_node FOLDER NODE
# Example: start_node /tmp/slurm n1
start_node() {
  slurmd -N "$2" -f "$1/slurm.conf" </dev/null &>>"$1/log/start"
}

# Usage: await_nodes FOLDER NODES
# Example: await_nodes /tmp/slurm 2
await_nodes() {
  local deadline=$((SECONDS + 60))
  until (($(SLURM_CONF=$1/slurm.conf sinfo -h -N -p main -t idle -o %N | wc -l) == $2)); do
    ((SECONDS < deadline)) || return 1
    sleep 0.1
  done
}

# Usage: start FOLDER NODES
# Example: start /tmp/slurm 2
start() {
  local folder program number
  for program in munged slurmctld slurmd sbatch; do
    command -v "$program" >/dev/null || fail "$program is missing. Install it with:
  apt-get install --no-install-recommends slurmctld slurmd slurm-client munge"
  done
  [[ ! -e $1/slurm.conf ]] || fail "The folder $1 is in use. Give another one."
  mkdir -p "$1"/{log,munge,spool,state}
  folder=$(realpath "$1")
  exec 3>&2 # the trap runs where standard error goes to the log; a daemon that had this open would keep callers waiting
  trap 'stop "$folder"; fail "Slurm did not start; $folder/log says why." 2>&3' ERR
  {
    write_settings "$folder" "$2"
    (umask 077 && head -c 1024 /dev/urandom >"$folder/munge/key")
    munged --force --key-file="$folder/munge/key" --socket="$folder/munge/socket" --pid-file="$folder/munge.pid" \
      --log-file="$folder/log/munge" --seed-file="$folder/munge/seed" </dev/null
    start_controller "$folder" -c
    for ((number = 1; number <= $2; number++)); do start_node "$folder" "n$number"; done
    await_nodes "$folder" "$2"
  } &>>"$folder/log/start" 3>&-
  echo "export SLURM_CONF=$folder/slurm.conf"
}

# Usage: end_daemon FOLDER NAME
# Example: end_daemon /tmp/slurm controller
end_daemon() {
  local process file=$1/$2.pid
  [[ -f $file ]] || return 0
  process=$(<"$file")
  # A process of another program may have the number by now.
  if grep -qsF -- "$1/" "/proc/$process/cmdline"; then
    kill -KILL "$process"
    while [[ -e /proc/$process ]] && ! grep -q '^State:.Z' "/proc/$process/status" 2>/dev/null; do sleep 0.02; done
  fi
  rm -f "$file"
}

# Usage: end_jobs FOLDER NODE
# Example: end_jobs /tmp/slurm n1
# Kills what runs on a node, at once, and what would notice: Slurm's own steps first.
end_jobs() {
  local folder process steps=() others=()
  for folder in /proc/[0-9]*; do
    process=${folder#/proc/}
    if ! tr '\0' '\n' 2>/dev/null <"$folder/environ" | grep -qxF "SLURMD_NODENAME=$2"; then continue; fi
    if ! tr '\0' '\n' 2>/dev/null <"$folder/environ" | grep -qxF "SLURM_CONF=$1/slurm.conf"; then continue; fi
    others+=("$process")
    process=$(awk '{print $4}' "$folder/stat" 2>/dev/null) || continue
    if [[ $(cat "/proc/$process/comm" 2>/dev/null) == slurmstepd ]]; then steps+=("$process"); fi
  done
  kill -KILL "${steps[@]}" "${others[@]}" 2>/dev/null || true
}

# Usage: kill_node FOLDER NODE
# Example: kill_node /tmp/slurm n1
kill_node() {
  end_daemon "$1" "$2"
  end_jobs "$1" "$2"
}

# Usage: stop FOLDER
# Example: stop /tmp/slurm
stop() {
  local file node
  end_daemon "$1" controller
  for file in "$1"/spool/*; do
    node=${file##*/}
    if [[ $node != '*' ]]; then kill_node "$1" "$node"; fi
  done
  end_daemon "$1" munge
}

case "${1:-} ${2:+folder} ${3:+more}" in
  "start folder " | "start folder more") start "$2" "${3:-2}" ;;
  "stop folder ") stop "$(realpath "$2")" ;;
  "kill-node folder more") kill_node "$(realpath "$2")" "$3" ;;
  "start-node folder more") start_node "$(realpath "$2")" "$3" ;;
  "kill-controller folder ") end_daemon "$(realpath "$2")" controller ;;
  "start-controller folder ") start_controller "$(realpath "$2")" ;;
  *) sed -n '2,8s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
esac
