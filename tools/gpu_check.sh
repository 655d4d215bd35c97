#!/usr/bin/env bash
# Tests and measures this package on a machine with a CUDA device, in at most eight minutes, without
# network access and without input from the keyboard:
#
#     tools/gpu_check.sh [FOLDER]
#
# FOLDER (default: gpu_check) receives the results: STEP.txt has the output of each step, bench.json
# and compiled.json have all measurements, and summary.txt has the outcomes, the durations and the
# tables. A step that fails or exceeds its time limit does not end the others. The exit code is 1 if
# a step failed.
#
# Without a CUDA device, the run is a rehearsal on the CPU: the same steps with a small network and
# small images, except for those that compile the network, which takes minutes on a CPU.
#
# Environment variables:
#     PYTHON         the interpreter (default: python3)
#     LIMIT_FACTOR   multiplies the time limits, an integer, for slow machines (default: 1)
set -u
cd "$(dirname "$0")/.." || exit
out=$(mkdir -p "${1:-gpu_check}" && cd "${1:-gpu_check}" && pwd) || exit
python=${PYTHON:-python3}
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH} PYTHONUNBUFFERED=1
model=$out/random.safetensors
summary=$out/summary.txt
failed=0

report() { tee -a "$summary"; }

# Runs a command for at most some seconds: step NAME SECONDS COMMAND…
step() {
    local name=$1 limit=$(($2 * ${LIMIT_FACTOR:-1})) start=$SECONDS code=0 outcome=ok
    shift 2
    timeout -k 5 "$limit" "$@" < /dev/null > "$out/$name.txt" 2>&1 || code=$?
    case $code in
        0) ;;
        124 | 137) failed=1 outcome="FAILED: not complete after $limit s" ;;
        *) failed=1 outcome="FAILED: exit code $code; $(tail -n 1 "$out/$name.txt")" ;;
    esac
    printf '%-18s %4d s  %s\n' "$name" $((SECONDS - start)) "$outcome" | report
}

skip() { printf '%-18s    –    skipped: %s\n' "$1" "$2" | report; }

step_or_skip() {
    if [ "$gpu" = yes ]; then step "$@"; else skip "$1" "needs a CUDA device"; fi
}

gpu=no
"$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' 2> /dev/null && gpu=yes
if [ "$gpu" = yes ]; then
    width=32 bench="--sizes 512 --people 5 30 --precisions bf16 f16 f32 --runs 3"
    training="--batch-size 24 --precision bf16 --runs 5"
else
    # One thread, because several would wait for each other on a busy machine.
    export OMP_NUM_THREADS=1
    width=4 bench="--sizes 64 --people 1 --precisions f32 --threads 1 --runs 1"
    training="--width 4 --batch-size 2 --size 64 --precision f32 --threads 1 --runs 1"
fi

date -u '+%Y-%m-%d %H:%M UTC' > "$summary"
[ "$gpu" = yes ] || echo "no CUDA device: a rehearsal with a small network" | report
step machine 30 "$python" -c "
import torch
from higherhrnet.bench.machine import MachineInfo
print(MachineInfo.current())
print(torch.cuda.get_device_properties(0) if torch.cuda.is_available() else 'no CUDA device')"
step weights 15 "$python" -c "
import sys
import torch
from pathlib import Path
from higherhrnet.config.header import Header
from higherhrnet.network import checkpoint
from higherhrnet.network.higherhrnet import HigherHRNet
torch.manual_seed(0)
model = HigherHRNet($width).eval()
checkpoint.save(Path(sys.argv[1]), model, Header(model.config))" "$model"
# shellcheck disable=SC2086 (flags are separated by spaces)
{
    step tests 60 "$python" -m pytest -q -p no:cacheprovider \
        tests/inference/test_gpu_pixels.py tests/inference/test_gpu.py tests/bench/test_pipeline.py
    step bench 120 "$python" -m higherhrnet bench -m "$model" --engines torch $bench \
        --json "$out/bench.json"
    step training 40 "$python" -m higherhrnet.bench.scripts.training $training
    step_or_skip training-compiled 70 "$python" -m higherhrnet.bench.scripts.training $training \
        --compile
    step_or_skip compiled 120 "$python" -m higherhrnet bench -m "$model" --engines torch --sizes 512 \
        --people 5 --precisions bf16 --runs 3 --compile --json "$out/compiled.json"
}
rm -f "$model"
for name in machine tests bench training training-compiled compiled; do
    [ ! -f "$out/$name.txt" ] || { printf '\n== %s\n' "$name" && cat "$out/$name.txt"; } >> "$summary"
done
echo "results: $out"
exit $failed
