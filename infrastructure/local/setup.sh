#!/usr/bin/env bash
# Sets up what the demo (and with --tests, the tests) need beyond a Rust toolchain: system packages from apt, the ONNX
# Runtime library from its PyPI wheel, the footage from Debian's opencv-doc. Says what it installs before it does.
# --assets fetches library and footage alone (for images). Idempotent: what is there is left alone. Everything but the system packages goes to data/cache/ and .venv/.
set -euo pipefail
cd "$(dirname "$0")/../.."

want_tests=no want_build=yes
case ${1:-} in
  --tests) want_tests=yes ;;
  --assets) want_build=no ;;
esac

ORT_VERSION=1.31.1
ORT_LIBRARY=data/cache/onnxruntime/libonnxruntime.so.$ORT_VERSION
FOOTAGE=data/cache/vtest.avi
FOOTAGE_SHA256=45cddc9490be69345cbdab64ca583be65987e864ca408038e648db99e10516cf

say() { printf 'setup: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

system_packages() {
  cat <<'LIST'
ca-certificates gcc g++ libc6-dev pkg-config python3 python3-venv
clang libclang-dev protobuf-compiler
libopencv-core-dev libopencv-imgproc-dev libopencv-imgcodecs-dev libopencv-videoio-dev
libavcodec-dev libavformat-dev libavutil-dev libswscale-dev
LIST
  [ $want_tests = yes ] && echo "ffmpeg strace procps git util-linux
    libopencv-video-dev libopencv-calib3d-dev libopencv-features2d-dev
    gir1.2-gst-rtsp-server-1.0 python3-gi gstreamer1.0-plugins-base gstreamer1.0-plugins-good"
  return 0
}

# What looks at the report's page in the tests (64 MB). Ubuntu has it as a snap only: there the test says that it is skipped.
browser_package() {
  [ $want_tests = yes ] || return 0
  command -v chromium-headless-shell chromium >/dev/null && return 0
  if grep -qx 'ID=debian' /etc/os-release; then echo chromium-headless-shell; fi
}

missing_packages() {
  local package
  for package in $(system_packages) $(browser_package); do
    dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed || echo "$package"
  done
}

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"
  elif command -v sudo >/dev/null; then sudo "$@"
  else fail "found no root rights and no sudo, wanted to run: $*"; fi
}

install_system_packages() {
  if ! command -v apt-get >/dev/null; then
    [ -n "${RVA_SKIP_PACKAGES:-}" ] && return 0
    fail "found no apt-get (a Debian or Ubuntu is wanted). Install by hand what these Debian packages hold, then set" \
      "RVA_SKIP_PACKAGES=1: $(system_packages | tr '\n' ' ')"
  fi
  local missing
  missing=$(missing_packages | tr '\n' ' ')
  [ -z "$missing" ] && return 0
  say "installing with apt-get (about 350 MB on a bare machine): $missing"
  as_root apt-get update -q >&2
  # shellcheck disable=SC2086 # a list of names
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing >&2
}

ensure_venv() {
  [ -x .venv/bin/pip ] || python3 -m venv .venv
}

fetch_onnxruntime() {
  [ -s "$ORT_LIBRARY" ] && return 0
  local platform wheels=data/cache/wheels
  case "$(uname -s)-$(uname -m)" in
    Linux-x86_64) platform=manylinux_2_28_x86_64 ;;
    Linux-aarch64) platform=manylinux_2_28_aarch64 ;;
    *) fail "found $(uname -s) on $(uname -m), wanted Linux on x86_64 or aarch64 (elsewhere set ORT_DYLIB_PATH)" ;;
  esac
  say "fetching the ONNX Runtime $ORT_VERSION library (24 MB) from its PyPI wheel, checksum pinned"
  ensure_venv
  mkdir -p "$wheels" "$(dirname "$ORT_LIBRARY")"
  .venv/bin/pip download -q --disable-pip-version-check --no-deps --require-hashes --only-binary :all: --dest "$wheels" \
    --platform "$platform" --python-version 311 --implementation cp --abi cp311 -r infrastructure/local/requirements-onnxruntime.txt
  .venv/bin/python - "$wheels"/onnxruntime-$ORT_VERSION-*.whl "$ORT_LIBRARY" <<'PY'
import sys, os, zipfile
wheel, library = sys.argv[1:]
with zipfile.ZipFile(wheel) as files, open(library + ".tmp", "wb") as out:
    out.write(files.read("onnxruntime/capi/" + os.path.basename(library)))
os.replace(library + ".tmp", library)
PY
  rm -rf "$wheels"
}

fetch_footage() {
  if [ ! -s $FOOTAGE ]; then
    command -v apt-get >/dev/null || fail "found no apt-get: put OpenCV's vtest.avi (sha256 $FOOTAGE_SHA256) at $FOOTAGE"
    say "fetching vtest.avi (8 MB; 795 frames of pedestrians) out of Debian's opencv-doc (a download of 96 MB, not installed)"
    local work
    work=$(mktemp -d)
    chmod 755 "$work"
    # A list of packages must be there, also where every system package was installed before.
    (cd "$work" && apt-get download -q -o APT::Sandbox::User=root opencv-doc >&2) || { as_root apt-get update -q >&2 && (cd "$work" && apt-get download -q -o APT::Sandbox::User=root opencv-doc >&2); }
    mkdir -p "$(dirname $FOOTAGE)"
    dpkg-deb --fsys-tarfile "$work"/opencv-doc_*.deb | tar -xO ./usr/share/doc/opencv-doc/examples/data/vtest.avi >$FOOTAGE.tmp
    rm -rf "$work"
    mv $FOOTAGE.tmp $FOOTAGE
  fi
  echo "$FOOTAGE_SHA256  $FOOTAGE" | sha256sum --check --quiet >&2 || fail "$FOOTAGE isn't the clip that was expected: remove it and run again"
}

# promtool and a broker of MQTT for the tests of the alerts.
fetch_servers() {
  if ! command -v apt-get >/dev/null; then
    command -v promtool >/dev/null && command -v mosquitto >/dev/null && return 0
    fail "found no apt-get, and no promtool or no mosquitto: put Prometheus' promtool and Mosquitto on PATH"
  fi
  python3 infrastructure/stack/stack.py fetch prometheus mosquitto >/dev/null
}

install_readers() {
  local stamp=.venv/.tests-installed wanted=tests/python
  cat $wanted/requirements.txt $wanted/requirements-no-deps.txt | cmp -s - $stamp && return 0
  say "installing what checks our tables and scores into .venv: pyiceberg, DuckDB, ONNX Runtime for Python, TrackEval (about 250 MB)"
  ensure_venv
  .venv/bin/pip install -q --disable-pip-version-check --require-hashes --only-binary :all: -r $wanted/requirements.txt
  .venv/bin/pip install -q --disable-pip-version-check --require-hashes --only-binary :all: --no-deps -r $wanted/requirements-no-deps.txt
  cat $wanted/requirements.txt $wanted/requirements-no-deps.txt >$stamp
}

check_toolchain() {
  command -v cargo >/dev/null && return 0
  fail "found no cargo on PATH, wanted a Rust toolchain of at least the version in rust-toolchain.toml"
}

if [ $want_build = yes ]; then
  check_toolchain
  install_system_packages
fi
fetch_onnxruntime
fetch_footage
if [ $want_tests = yes ]; then
  install_readers
  fetch_servers
fi
say "ready"
