#!/bin/bash
# Every rank of `mpiexec -n RANKS --ppn WORKERS_PER_NODE ./start.sh TYPE WORKERS_PER_NODE` runs this:
# all of them a worker, rank 0 the scheduler too. TYPE is gpu or cpu. On more than one node set
# FARM_INTERFACE to the network interface that joins them: without, only this node is reached.
TYPE=$1
WORKERS_PER_NODE=$2
NTHREADS=$(( ${CORES_PER_NODE:-208} / WORKERS_PER_NODE ))
MEMORY_PER_WORKER=$(( ${MEMORY_PER_NODE_GB:-1100} / WORKERS_PER_NODE ))GB
LOCAL_DIRECTORY=${LOCAL_DIRECTORY:-$HOME/farm-local-directory}
mkdir -p "$LOCAL_DIRECTORY/logs"

if [ "${PALS_RANKID:-0}" = 0 ]; then
  nohup farm-scheduler --port "${FARM_SCHEDULER_PORT:-8786}" \
    --dashboard-address "${FARM_DASHBOARD_PORT:-8787}" ${FARM_INTERFACE:+--interface "$FARM_INTERFACE"} \
    --scheduler-file "$LOCAL_DIRECTORY/scheduler.json" \
    > "$LOCAL_DIRECTORY/logs/$HOSTNAME-scheduler.log" 2>&1 &
fi
# No sleep is needed: workers wait for the scheduler's file.
if [ "$TYPE" = gpu ]; then
  export ZE_AFFINITY_MASK=$PALS_LOCAL_RANKID
  set -- --resources "GPU=1" --memory-limit "$MEMORY_PER_WORKER"
else
  set --
fi
farm-worker "$@" --nthreads "$NTHREADS" --local-directory "${WORKER_DIRECTORY:-/tmp/farm-workers}" \
  ${FARM_INTERFACE:+--interface "$FARM_INTERFACE"} \
  --scheduler-file "$LOCAL_DIRECTORY/scheduler.json" \
  >> "$LOCAL_DIRECTORY/logs/$HOSTNAME-worker.log" 2>&1
