"""Builds the tests that `cargo test ARGS` would run, and runs them as it does, but several programs at a time: most wait
for something most of the time. Prints the output of each program in one piece, at its end, with the seconds that it took by
the clock and of the processor; tests of documentation come last.

usage: run_tests.py ARGS...
"""

import json
import os
import subprocess
import sys
import tempfile
import time
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
    began = time.monotonic()
    with tempfile.TemporaryFile() as output:
        running = subprocess.Popen(
            [executable, "--show-output"],
            cwd=folder,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        _, status, used = os.wait4(running.pid, 0)
        running.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read().decode(errors="replace")
    clock, processor = time.monotonic() - began, used.ru_utime + used.ru_stime
    name = os.path.relpath(source)
    print(f"     Running {name} ({executable})\n{text}", flush=True)
    print(f"timed: {clock:.0f} s, {processor:.0f} s of the processor: {name}\n", flush=True)
    return running.returncode


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
