#!/usr/bin/env bash
#SBATCH --requeue             # a dead node, or a job that goes first: the task is started again
#SBATCH --open-mode=append    # all starts of a task in one log
#SBATCH --signal=USR1@120     # seconds before the time limit: the fit saves and ends with 75
#
# One task of a job array is one fit. `python -m talkingavatar.sweep <file> launcher=slurm` submits it; by hand:
#
#   sbatch --array=0-5%2 --cpus-per-task=4 --time=12:00:00 slurm/array.sh runs/me/_launch/submissions/1
#
# The folder holds jobs.tsv, one fit a line: its name, a tab, the arguments of `talkingavatar.fit` (run.path on a disk that
# all nodes see). environment.sh beside it, if there, is read first. Logs and exit codes go to runs/me/_launch.
set -uo pipefail

submission=$(realpath "$1")
launch=$(realpath "$submission/../..")
line=$(sed -n "$((SLURM_ARRAY_TASK_ID + 1))p" "$submission/jobs.tsv")
name=${line%%$'\t'*}
eval "arguments=(${line#*$'\t'})"
mkdir -p "$launch/logs" "$launch/attempts"
exec >>"$launch/logs/$name.log" 2>&1

note() { printf '%s\n' "$*" >>"$launch/attempts/$name"; }
end() { note "exit $1 $(date +%s)"; exit "$1"; }

# A capture named by a relative path is read from the node's own disk: copied there once, seen under the same path.
stage() {
  local source=$1 local_copy="$scratch/talkingavatar/$1" work
  [ -e "$source" ] || return 0 # the fit says so better
  mkdir -p "$(dirname "$local_copy")"
  (
    flock 9
    [ -d "$local_copy" ] || { cp -rL "$source" "$local_copy.part" && mv "$local_copy.part" "$local_copy"; }
  ) 9>"$local_copy.lock"
  work=$(mktemp -d "$scratch/talkingavatar/work.XXXXXX")
  ln -s "$PWD"/* "$work/"
  rm "$work/${source%%/*}"
  mkdir -p "$work/$(dirname "$source")"
  ln -s "$local_copy" "$work/$source"
  cd "$work" || return 1
}

note "start $(date +%s) $(hostname) $$"
fit=(python -m talkingavatar.fit)
scratch=
# shellcheck disable=SC1091
if [ -f "$submission/environment.sh" ]; then
  set -e
  trap 'end 1' ERR
  . "$submission/environment.sh"
  set +e
  trap - ERR
fi
for argument in "${arguments[@]}"; do
  case $argument in
    trainer.threads=*) threads=given ;;
    data.path=[!/~\']*) [ -z "$scratch" ] || stage "${argument#data.path=}" || end 1 ;;
  esac
done
tasks=$((${SLURM_JOB_NUM_NODES:-1} * ${SLURM_NTASKS_PER_NODE:-1}))
# One fit of several tasks: they share a driver's steps.
[ "$tasks" = 1 ] || arguments+=("trainer.nodes=$SLURM_JOB_NUM_NODES" "trainer.devices=$SLURM_NTASKS_PER_NODE")
[ -n "${threads:-}" ] || [ -z "${SLURM_CPUS_PER_TASK:-}" ] || arguments+=("trainer.threads=$SLURM_CPUS_PER_TASK")

# Signals go to the fit by SLURM's own hand: USR1 when the time is nearly up, TERM when the task is cancelled, preempted or
# requeued. This shell only has to outlive them, and to know which it was: after TERM the queue is SLURM's business.
terminated=
trap 'terminated=1' TERM
trap : USR1 USR2
export PYTHONUNBUFFERED=1

for start in 1 2 3; do
  [ "$start" = 1 ] || note "start $(date +%s) $(hostname) $$"
  srun --ntasks="$tasks" --cpus-per-task="${SLURM_CPUS_PER_TASK:-1}" "${fit[@]}" "${arguments[@]}" &
  child=$!
  while :; do # a signal ends the waiting, not the fit
    wait "$child"
    code=$?
    [ "$code" -gt 128 ] && kill -0 "$child" 2>/dev/null || break
  done
  # Killed by nobody of SLURM's (memory, a person): here and now, from the last checkpoint.
  [ "$code" = 137 ] && [ -z "$terminated" ] && [ "$start" -lt 3 ] || break
  note "exit $code $(date +%s)"
done
note "exit $code $(date +%s)"
case $code in
  75 | 129 | 138 | 140 | 143)
    [ -n "$terminated" ] || scontrol requeue "${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID" ;;
esac
exit "$code"
