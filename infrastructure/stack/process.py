"""Processes that a stack started, told apart from any other by number, start time and boot."""

import os
import signal
import subprocess
import time
from pathlib import Path


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _start_time(pid: int) -> int | None:
    """Start of a process in clock ticks since boot; None where it is gone (a zombie is gone)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def start(command: list, environment: dict[str, str], log: Path, folder: Path) -> dict:
    """Starts a server in a session of its own, its output appended to `log`; the answer is kept in the state file."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            [str(part) for part in command], env=environment, cwd=folder, stdin=subprocess.DEVNULL, stdout=output,
            stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    return {"pid": process.pid, "start_time": _start_time(process.pid), "boot": _boot()}


def is_alive(process: dict | None) -> bool:
    """Whether this very process runs, not another one that got its number."""
    if not process or process["boot"] != _boot():
        return False
    try:  # reaps it where it is a child of ours that ended
        os.waitpid(process["pid"], os.WNOHANG)
    except ChildProcessError:
        pass
    return process["start_time"] is not None and _start_time(process["pid"]) == process["start_time"]


def stop(process: dict | None, grace_seconds: float) -> str:
    """SIGTERM, then after the grace SIGKILL to its whole session; says which it took."""
    if not is_alive(process):
        return "wasn't running"
    if grace_seconds > 0:
        os.kill(process["pid"], signal.SIGTERM)
        end = time.monotonic() + grace_seconds
        while time.monotonic() < end:
            if not is_alive(process):
                return "stopped"
            time.sleep(0.05)
    os.killpg(process["pid"], signal.SIGKILL)
    while is_alive(process):
        time.sleep(0.02)
    return "killed"


def memory_mb(process: dict) -> int:
    """Resident memory in MB; 0 where it is gone."""
    try:
        status = Path(f"/proc/{process['pid']}/status").read_text()
    except FileNotFoundError:
        return 0
    kb = next((line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:")), "0")
    return int(kb) // 1024
