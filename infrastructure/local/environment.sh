# shellcheck shell=bash
# Sourced by the other scripts: where this checkout keeps its things.
OPENCV_TRIPLET=$(gcc -dumpmachine 2>/dev/null || echo x86_64-linux-gnu)
if [ "$OPENCV_TRIPLET" != x86_64-linux-gnu ]; then # .cargo/config.toml has the paths of x86_64
  export OPENCV_LINK_PATHS=${OPENCV_LINK_PATHS:-/usr/lib/$OPENCV_TRIPLET}
  export OPENCV_INCLUDE_PATHS=${OPENCV_INCLUDE_PATHS:-/usr/include/opencv4,/usr/include/$OPENCV_TRIPLET/opencv4}
fi
export RVA_VTEST=${RVA_VTEST:-$PWD/data/cache/vtest.avi}
export RVA_PYTHON=${RVA_PYTHON:-$PWD/.venv/bin/python}
export ORT_DYLIB_PATH=${ORT_DYLIB_PATH:-$PWD/data/cache/onnxruntime/libonnxruntime.so.1.31.1}
# What tests and lints are built with, in one form, so that nothing is compiled twice: all that a program can have, and the
# mutants of the tests (docs/architecture.md), which no program of a release has.
# shellcheck disable=SC2034 # for those who source this
FEATURES=rva/camera-motion,rva/pulsar,rva-bus/pulsar,rva-detector/pulsar,rva-ingest/pulsar,rva-fuzz/pulsar,rva-lake/mutants,rva-ingest/mutants,rva-refine/mutants
# shellcheck disable=SC2034 # for those who source this
TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}
