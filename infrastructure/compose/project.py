"""The compose file as a project of its own, and what asks it."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

PATIENCE_S = 240
PREFIX = "rva-test-"
PID = os.getpid()
PROJECT = f"{PREFIX}{PID}"
SECRETS = Path(os.environ["RVA_SECRETS"])
# A loopback address of its own, so that a project that runs already keeps its ports.
ADDRESS = f"127.{2 + (PID >> 16) % 250}.{(PID >> 8) % 256}.{PID % 256}"
ENVIRONMENT = os.environ | {
    "RVA_BIND": ADDRESS,
    "RVA_BIND_OPEN": ADDRESS,
    "RVA_NETWORK": PROJECT,
    "RVA_INGEST_COMMIT_INTERVAL": "1s",
    "RVA_REFINE_INTERVAL": "1s",
}
NETWORKS = {name: f"{PROJECT}_{name}" for name in ("lake", "broker", "outside", "metrics", "watch", "notify")} | {
    "retail-net": PROJECT
}
BEGAN = time.monotonic()


def say(text: str) -> None:
    print(f"test-compose: {time.monotonic() - BEGAN:.0f} s: {text}", flush=True)


def run(*arguments: str, check: bool = True, **more) -> subprocess.CompletedProcess:
    done = subprocess.run(arguments, check=False, **{"env": ENVIRONMENT, "capture_output": True, "text": True} | more)
    if check and done.returncode != 0:
        raise RuntimeError(f"{' '.join(arguments)}: exit code {done.returncode}: {done.stderr.strip()}")
    return done


def docker(*arguments: str, check: bool = True) -> str:
    return run("docker", *arguments, check=check).stdout


def compose(*arguments: str, check: bool = True) -> str:
    return docker("compose", "--project-name", PROJECT, *arguments, check=check)


def sweep() -> None:
    """Ends what earlier runs left that were killed before they could: an engine that is started again starts it too."""
    for project in json.loads(docker("compose", "ls", "--all", "--format", "json")):
        name = project["Name"]
        if name.startswith(PREFIX) and not Path(f"/proc/{name.removeprefix(PREFIX)}").exists():
            say(f"an earlier run left {name} ({project['Status']}): taken down")
            docker("compose", "--project-name", name, "down", "--volumes", "--remove-orphans", "--timeout", "10")


def container(service: str) -> str:
    return f"{PROJECT}-{service}-1"


def inspect(service: str, template: str) -> str:
    return docker("inspect", "--format", template, container(service)).strip()


def until(what: str, is_so, patience: float = PATIENCE_S):
    end = time.monotonic() + patience
    while time.monotonic() < end:
        found = is_so()
        if found:
            return found
        time.sleep(1)
    logs = compose("logs", "--tail", "15", check=False)
    sys.exit(f"test-compose: waited {patience:.0f} s for {what}\n{logs}")
