#!/bin/bash
# Fine-tune on several nodes with Slurm. On each node, one `accelerate launch` starts one process per GPU.
#
#     PARTITION=gpu NODES=2 bash scripts/slurm/finetune.sh --config finetune/llava-1.5-7b-full --dataset org/ave2
#
# Run it where jobs are submitted, with an environment (VENV) that all nodes see; model, data and output_dir must be on a
# shared file system. A job that is preempted, or that is about to reach TIME, is queued again and goes on from its last
# checkpoint. After a failure, run the same command again. Arguments are those of `soundclip finetune`. Inside an
# allocation (salloc), the training starts at once.
#
# Not run on a cluster by us: the tests run it with stand-ins for Slurm's programs, which start two nodes on one machine.
set -euo pipefail

GPUS="${GPUS:-8}"                  # per node, and so many processes
ACCELERATE_CONFIG="${ACCELERATE_CONFIG:-$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)/configs/accelerate/fsdp2.yaml}"
VENV="${VENV:-$(pwd)/.venv}"
export GPUS ACCELERATE_CONFIG VENV

if [[ -z "${SLURM_JOB_ID:-}" ]]; then
  : "${PARTITION:?name a partition, such as PARTITION=gpu}"
  NODES="${NODES:-1}"
  TIME="${TIME:-24:00:00}"         # of one job; it is queued again until the training is done
  CPUS="${CPUS:-12}"               # per GPU: readers of data, and the process itself
  MEMORY="${MEMORY:-0}"            # per node, such as 500G; 0: all of it
  mkdir -p logs
  # USR1 comes five minutes before the end, and to this script alone.
  exec sbatch --job-name=soundclip-finetune --partition="$PARTITION" --nodes="$NODES" --ntasks-per-node=1 \
    --gpus-per-node="$GPUS" --cpus-per-task="$((GPUS * CPUS))" --mem="$MEMORY" --time="$TIME" \
    --requeue --open-mode=append --signal=B:USR1@300 --output=logs/finetune-%j.log --export=ALL \
    "${BASH_SOURCE[0]}" "$@"
fi

# The first node is where the processes meet. Jobs that share a node must not share the port.
read -r MAIN_NODE < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
export MAIN_NODE MAIN_PORT="${MAIN_PORT:-$((20000 + SLURM_JOB_ID % 10000))}"

# Bash handles a signal only while it waits, so srun runs in the background.
trap 'scontrol requeue "$SLURM_JOB_ID"' USR1
# Each node reads its own SLURM_NODEID, hence the single quotes.
# srun does not take the CPUs of a task from the job.
srun --nodes="$SLURM_JOB_NUM_NODES" --ntasks-per-node=1 --kill-on-bad-exit=1 \
  ${SLURM_CPUS_PER_TASK:+--cpus-per-task="$SLURM_CPUS_PER_TASK"} bash -c '
  exec "$VENV/bin/python" -m accelerate.commands.launch --config_file "$ACCELERATE_CONFIG" \
    --num_machines "$SLURM_JOB_NUM_NODES" --num_processes "$((SLURM_JOB_NUM_NODES * GPUS))" \
    --machine_rank "$SLURM_NODEID" --main_process_ip "$MAIN_NODE" --main_process_port "$MAIN_PORT" \
    -m soundclip_hf.training.finetuning "$@"' finetune "$@" &
wait "$!"
