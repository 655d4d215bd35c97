#!/usr/bin/env bash
# Checks and measures this package on a machine with a CUDA GPU in at most eight minutes, without
# network access and without questions:
#
#     tools/gpu_check.sh [FOLDER]
#
# FOLDER (default: gpu_check) receives the results: summary.txt has the outcome and the duration of
# each step, *.txt the output of each step, bench.json all measurements. A step that fails or takes
# too long does not end the others. The exit code is 1 if a step failed.
#
# SMALL=1 uses small networks and images, as a rehearsal on a CPU. PYTHON selects the interpreter.
set -u
cd "$(dirname "$0")/.."
out=$(mkdir -p "${1:-gpu_check}" && cd "${1:-gpu_check}" && pwd)
python=${PYTHON:-python3}
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH}
failed=0
: > "$out/summary.txt"

# Runs a command for at most some seconds: step NAME SECONDS COMMAND…
step() {
    local name=$1 limit=$2 start=$SECONDS outcome=ok
    shift 2
    timeout -k 5 "$limit" "$@" > "$out/$name.txt" 2>&1 || { outcome="FAILED ($?)"; failed=1; }
    printf '%-10s %-12s %4d s\n' "$name" "$outcome" $((SECONDS - start)) | tee -a "$out/summary.txt"
}

if [ -n "${SMALL:-}" ]; then
    width=4 sizes=64 people="1" precisions="f32" runs=1 limit=300
    training="--batch-size 1 --size 64 --runs 1"
    tests="tests/inference/test_gpu_pixels.py"
else
    width=32 sizes=512 people="5 30" precisions="bf16 f16 f32" runs=3 limit=0
    training="--batch-size 24 --precision bf16 --compile --runs 5"
    tests="tests/inference/test_gpu_pixels.py tests/inference/test_gpu.py tests/bench/test_pipeline.py"
fi

step machine 30 "$python" -c "
import torch
from higherhrnet.bench.machine import MachineInfo
print(MachineInfo.current())
print(torch.cuda.get_device_properties(0) if torch.cuda.is_available() else 'no CUDA device')"
step weights 60 "$python" -c "
import sys
import torch
from pathlib import Path
from higherhrnet.config.header import Header
from higherhrnet.network import checkpoint
from higherhrnet.network.higherhrnet import HigherHRNet
torch.manual_seed(0)
model = HigherHRNet($width).eval()
checkpoint.save(Path(sys.argv[1]), model, Header(model.config))" "$out/random.safetensors"
step tests $((limit ? limit : 100)) "$python" -m pytest -q -p no:cacheprovider $tests
step bench $((limit ? limit : 150)) "$python" -m higherhrnet bench -m "$out/random.safetensors" \
    --engines torch --precisions $precisions --sizes $sizes --people $people --runs $runs \
    --json "$out/bench.json"
[ -n "${SMALL:-}" ] || step compiled 90 "$python" -m higherhrnet bench \
    -m "$out/random.safetensors" --engines torch --precisions bf16 --sizes $sizes --people 5 \
    --runs 3 --compile --json "$out/compiled.json"
step training $((limit ? limit : 80)) "$python" -m higherhrnet.bench.scripts.training $training
rm -f "$out/random.safetensors"
exit $failed
