"""Builds the tests that `cargo test ARGS` would run, and runs them as it does, but two programs at a time: most wait for
something most of the time. Prints the output of each program in one piece, at its end; tests of documentation come last.

usage: run_tests.py ARGS...
"""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

AT_A_TIME = 2


def programs(arguments):
    """The test programs, each with the folder of its package, after they were built."""
    command = ["cargo", "test", *arguments, "--no-run", "--message-format", "json-render-diagnostics"]
    built = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True)
    if built.returncode != 0:
        sys.exit(built.returncode)
    for line in built.stdout.splitlines():
        artifact = json.loads(line)
        if artifact["reason"] == "compiler-artifact" and artifact["profile"]["test"] and artifact["executable"]:
            yield artifact["executable"], Path(artifact["manifest_path"]).parent, artifact["target"]["src_path"]


def run(program):
    executable, folder, source = program
    environment = {**os.environ, "CARGO_MANIFEST_DIR": str(folder)}
    ran = subprocess.run(
        [executable, "--show-output"],
        check=False,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    text = ran.stdout.decode(errors="replace")
    print(f"     Running {os.path.relpath(source)} ({executable})\n{text}", flush=True)
    return ran.returncode


def main(arguments):
    found = list(programs(arguments))
    # One that is killed by a signal has printed no result: its name is a line of its own.
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        codes = list(pool.map(run, found))
    for (executable, _, _), code in zip(found, codes):
        if code not in (0, 101):
            print(f"test {Path(executable).name} ... FAILED\ntest result: FAILED. 0 passed; 1 failed; exit code {code}")
    documentation = subprocess.run(
        ["cargo", "test", *arguments, "--doc", "--no-fail-fast", "--", "--show-output"], check=False
    )
    return int(any(codes) or documentation.returncode != 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
