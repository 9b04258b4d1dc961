"""Compares the tests that said `skipped: …` with the recorded list, and prints the counts of the whole run.

usage: check_skips.py LOG ALLOWED

ALLOWED has one line for each skip that is known: a condition, then a regular expression for the reason. A condition
is `always`, `without-shared` (no ../shared beside the checkout), `not-root`, `no-mount` (no right to mount), `no-cgroup` (no memory cgroup of version 1 to write to; version 2 may refuse groups below one with processes), `no-cuda` (no NVIDIA card),
`no-stack` (RVA_STACK is not set: `make test-stack` sets it), `no-browser` (no Debian, whose package of Chromium setup.sh installs), or `ignored` (the expression is for the name of a test with `#[ignore]`, such as the child process of another test).
A skip that is not on the list, or whose condition does not hold here, is a failure.
"""

import os
import re
import sys
from pathlib import Path


def condition_holds(name: str) -> bool:
    root = Path(__file__).resolve().parents[2]
    shared = Path(os.environ.get("RVA_SHARED", root.parent / "shared"))
    match name:
        case "always" | "ignored":
            return True
        case "without-shared":
            return not shared.is_dir()
        case "not-root":
            return os.geteuid() != 0
        case "no-stack":
            return not os.environ.get("RVA_STACK")
        case "no-browser":
            return "ID=debian" not in Path("/etc/os-release").read_text().splitlines()
        case "no-cuda":
            return not Path("/dev/nvidia0").exists()
        case "no-cgroup":
            return not os.access("/sys/fs/cgroup/memory", os.W_OK)
        case "no-mount":
            effective = int(re.search(r"CapEff:\s+(\w+)", Path("/proc/self/status").read_text())[1], 16)
            return not effective >> 21 & 1  # CAP_SYS_ADMIN
    sys.exit(
        f"check_skips: found condition {name!r}, wanted always, without-shared, not-root, no-mount, no-cgroup, no-stack, no-browser, no-cuda or ignored"
    )


def read_allowed(path: str) -> list[tuple[str, re.Pattern[str]]]:
    lines = (line.strip() for line in Path(path).read_text().splitlines())
    entries = (line.split(None, 1) for line in lines if line and not line.startswith("#"))
    return [(condition, re.compile(reason)) for condition, reason in entries]


def main(log: str, allowed_path: str) -> int:
    text = Path(log).read_text(errors="replace")
    allowed = read_allowed(allowed_path)
    skips = re.findall(r"^skipped: (.*)$", text, re.MULTILINE)
    reasons = [(c, r) for c, r in allowed if c != "ignored"]
    unknown = [s for s in skips if not any(r.search(s) and condition_holds(c) for c, r in reasons)]
    ignored = re.findall(r"^test (\S+) \.\.\. ignored", text, re.MULTILINE)
    unknown += [name for name in ignored if not any(c == "ignored" and r.search(name) for c, r in allowed)]
    results = re.findall(r"^test result: \w+\. (\d+) passed; (\d+) failed", text, re.MULTILINE)
    passed, failed = (sum(int(row[i]) for row in results) for i in range(2))
    for reason in sorted(set(skips)):
        print(f"skipped {skips.count(reason)} x: {reason}")
    for reason in unknown:
        print(f"check_skips: not on the recorded list, or its condition does not hold here: {reason}")
    for name in re.findall(r"^test (\S+) \.\.\. FAILED", text, re.MULTILINE):
        print(f"failed: {name}")
    # A test that skips itself counts as passed for cargo.
    print(f"{passed - len(skips)} passed, {failed} failed, {len(skips)} skipped")
    return 1 if unknown or failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
