# shellcheck shell=bash
# To be sourced from the root of the checkout: installs Roboflow's trackers and supervision into .venv-bench, where they
# aren't yet.
requirements=infrastructure/local/requirements-bench.txt
if ! cmp -s $requirements .venv-bench/.installed; then
  echo "installing Roboflow's trackers (Apache-2.0) and supervision (MIT) into .venv-bench (about 250 MB to fetch)" >&2
  [ -x .venv-bench/bin/pip ] || python3 -m venv .venv-bench
  .venv-bench/bin/pip install -q --disable-pip-version-check --no-deps --require-hashes --only-binary :all: -r $requirements
  cp $requirements .venv-bench/.installed
fi
