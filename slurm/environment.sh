# What the jobs of this folder share. What your cluster wants before Python can start belongs here:
# module load cuda

python=$(command -v "${PYTHON:-.venv/bin/python}") || { echo "no Python at ${PYTHON:-.venv/bin/python}; submit from the project's folder after 'make dev', or set PYTHON" >&2; exit 1; }

export SRUN_CPUS_PER_TASK=${SLURM_CPUS_PER_TASK:-1}      # srun no longer takes it from the job by itself
export OMP_NUM_THREADS=$SRUN_CPUS_PER_TASK OMP_WAIT_POLICY=PASSIVE TF_CPP_MIN_LOG_LEVEL=3

value() {       # value NAME DEFAULT NAME=VALUE ...: the last VALUE that NAME is given
    local name=$1 found=$2 setting
    for setting in "${@:3}"; do [[ $setting != "$name="* ]] || found=${setting#*=}; done
    echo "$found"
}

requeue_or_stop() {   # this job ends and waits in the queue again, unless it has had its MAX_RUNS
    local runs=$((${SLURM_RESTART_COUNT:-0} + 1))
    if [ $runs -lt "${MAX_RUNS:-1}" ]; then echo "run $runs of $MAX_RUNS ends here"; scontrol requeue "$SLURM_JOB_ID"
    else echo "not done after $runs of ${MAX_RUNS:-1} runs; the same sbatch command goes on from here" >&2; fi
}

warned() {      # SLURM's signal reaches this shell alone; a file reaches every rank on every node
    echo "$(date '+%F %T') the time limit is near"
    warning=yes
    touch "$stop"
    (sleep "${GRACE:-0}"; requeue_or_stop) & timer=$!
}

run() {         # run NOTEBOOK RECORD NAME=VALUE ...: on every rank, in as many runs as it takes
    local status=0 step again
    warning= timer= stop=$(dirname "$2")/stop again=$(dirname "$2")/again
    trap warned USR1
    mkdir -p "$(dirname "$2")"; rm -f "$stop" "$again"
    srun --kill-on-bad-exit=1 "$python" slurm/rank.py "$@" & step=$!
    while kill -0 $step 2>/dev/null; do wait $step || true; done      # a signal ends `wait`, not the step
    wait $step || status=$?
    if [ $status = 0 ] && [ -e "$again" ]; then status=75; fi      # as rank.py says it
    rm -f "$again"
    trap '' USR1
    [ -z "$timer" ] || kill $timer 2>/dev/null || true
    if [ $status = 75 ] && [ $warning ]; then requeue_or_stop; fi
    return $status
}
