#!/bin/sh
# Does BVLC Caffe compute on this GPU what it computes on the CPU, and how fast?
#
#   docker run --rm --gpus all gcnet-bvlc-cuda docker/gpu_check.sh [DEVICE]     default: gpu:0
#
# In bvlc-cuda. Shows the GPU, runs Caffe's own tests on it, trains S1R1 for ten iterations on the CPU
# and on the GPU from the same start and compares the losses, measures iterations a second with
# batches of 64, and prints a line for an issue. It takes some minutes and ends with status 1 where
# something is wrong. Nobody has run it on a GPU yet. DEVICE cpu tries the script itself: the CPU is
# then compared with itself. For torchcaffe there is bench/gpu.py.
set -eu

fail() {
    echo "error: $1" >&2
    exit 1
}

case "${1:-}" in
    -h | --help)
        sed -n '2,/^set -eu/{/^set -eu/d;s/^# \{0,1\}//;p}' "$0"
        exit 0 ;;
esac
[ "${GCNET_ENGINE:-torch}" = bvlc ] ||
    fail "this checks BVLC Caffe; for torchcaffe run: python bench/gpu.py"
device=${1:-gpu:0}
number=${device#gpu:}
export CUDA_DEVICE_ORDER=PCI_BUS_ID   # as nvidia-smi counts
cd "$(dirname "$0")/.."
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export GCNET_FOLDS="$scratch/folds"

train() {   # run, device, iterations, batch
    python python/train_folds.py --index "$scratch/faces/index.csv" --net s1r1 --folds 0 \
        --prototxt "$scratch/prototxt" --copies 0 --device "$2" --max-iter "$3" --batch "$4" \
        --run "$scratch/$1" > "$scratch/$1.out" 2>&1 || fail "training on $2: $(tail -n 1 "$scratch/$1.out")"
}

if [ "$device" = cpu ]; then
    name=CPU driver=none
else
    nvidia-smi -L 2>/dev/null | grep -q "GPU $number:" ||
        fail "no GPU $number here (nvidia-smi -L); start the container with --gpus all"
    name=$(nvidia-smi --id="$number" --query-gpu=name --format=csv,noheader)
    driver=$(nvidia-smi --id="$number" --query-gpu=driver_version --format=csv,noheader)
    echo "1/4 $name, driver $driver"
    caffe device_query -gpu "$number"
fi

tests="not there"
if [ "$device" != cpu ] && command -v caffe-gtest >/dev/null; then
    echo "2/4 Caffe's own tests on the GPU"
    if caffe-gtest "$number" --gtest_filter='*/2.*:*/3.*:*GPU*:Im2colKernelTest*' \
            > "$scratch/gtest" 2>&1; then
        tests="passed"
    else
        tests="FAILED"
        grep '^\[  FAILED  \]' "$scratch/gtest" || tail -n 20 "$scratch/gtest"
    fi
    tests="$tests ($(grep -c '^\[       OK \]' "$scratch/gtest") good)"
fi

echo "3/4 ten iterations on the CPU and on $device"
python -m data_prep synthesize ckplus "$scratch/CK+" --subjects 10 --sequences 7 --frames 2 \
    > "$scratch/data" 2>&1 || fail "$(tail -n 1 "$scratch/data")"
python -m data_prep index ckplus "$scratch/CK+" -o "$scratch" >> "$scratch/data" 2>&1 ||
    fail "$(tail -n 1 "$scratch/data")"
python -m data_prep align "$scratch/index.csv" -o "$scratch/faces" >> "$scratch/data" 2>&1 ||
    fail "$(tail -n 1 "$scratch/data")"
# Without dropout, whose dice the GPU throws in its own order.
cp -r prototxt "$scratch/prototxt"
sed -i 's/dropout_ratio: [0-9.]*/dropout_ratio: 0/' "$scratch"/prototxt/*.prototxt
train cpu cpu 10 16
train gpu "$device" 10 16
difference=$(python - "$scratch/cpu/fold0/caffe.log" "$scratch/gpu/fold0/caffe.log" <<'COMPARE'
import sys
from gcnet.train import caffe_log
from pathlib import Path

cpu, gpu = (caffe_log.of_file(Path(path)).train for path in sys.argv[1:])
assert cpu.keys() == gpu.keys() and len(cpu["loss"]) >= 10
pairs = [(value, gpu[name][i]) for name in cpu for i, value in cpu[name].items()]
print(f"{max(abs(a - b) / max(abs(a), abs(b), 1e-6) for a, b in pairs):.1e}")
COMPARE
)
echo "largest relative difference of a loss: $difference"

echo "4/4 speed"
iterations=100
[ "$device" != cpu ] || iterations=2
train speed "$device" $iterations 64
speed=$(sed -n 's/.*Iteration [0-9]* (\([0-9.]*\) iter\/s.*/\1/p' "$scratch/speed/fold0/caffe.log" |
    sort -g | awk '{ speed[NR] = $1 } END { print speed[int((NR + 1) / 2)] }')   # the median

echo
echo "gcnet gpu_check: $(caffe --version 2>&1 | head -n 1), engine bvlc, $name," \
    "driver $driver; gtest: $tests; S1R1 CPU against $device: $difference; $speed iterations/s of 64"
case "$tests" in *FAILED*) fail "some of Caffe's tests failed" ;; esac
python -c "import sys; sys.exit(not float('$difference') < 0.01)" || fail "the losses differ"
