#!/bin/bash
# Queue all stages of an AVE-2 on Slurm: one array of jobs per stage, each waiting for the one before it.
#
#     PARTITION=cpu TASKS=64 bash scripts/slurm/build_ave2.sh videos=/data/videos out=/data/ave2 \
#         judge.server.base_url=http://node7:8000/v1
#
# Run it where jobs are submitted, from a folder and with an environment (VENV) that all nodes see; videos and out must
# be on a shared file system, and the servers of the models reachable from the nodes. Run it again after a failure: what
# is done is skipped. Arguments are settings of configs/dataset/ave2.yaml.
set -euo pipefail

: "${PARTITION:?name a partition, such as PARTITION=cpu}"
TASKS="${TASKS:-16}"               # processes per stage; they share the limits of a server
TIME="${TIME:-24:00:00}"           # of one job
CPUS="${CPUS:-4}"
MEMORY="${MEMORY:-2}"              # GB per CPU
VENV="${VENV:-$(pwd)/.venv}"
CONFIG="${CONFIG:-dataset/ave2}"

"$VENV/bin/soundclip" ave2 build --config "$CONFIG" \
  run.executor=slurm run.tasks="$TASKS" \
  run.options.partition="$PARTITION" run.options.time="'$TIME'" \
  run.options.cpus_per_task="$CPUS" run.options.mem_per_cpu_gb="$MEMORY" \
  run.options.venv_path="$VENV/bin/activate" \
  "$@"
