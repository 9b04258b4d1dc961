"""The native stack: Pulsar, MinIO and an Iceberg REST catalog as plain processes, for development and tests.

usage: stack.py [--state DIR] up|down|status|kill SERVER|start SERVER|fetch|uploads|read-only-keys|run PROGRAM …

A state folder holds one stack: data, logs, and state.json with ports, keys and processes. Two stacks with two state
folders run side by side. Ports are chosen once, free ones below the range that outgoing connections use, and kept, so
that clients find a server again that was restarted. Only processes that state.json names are ever stopped, and only while their
start time is the recorded one.
"""

import argparse
import fcntl
import json
import os
import random
import secrets
import shlex
import shutil
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import process
from engines import PROGRAMS, EngineError, Flink, FlinkTaskManager, Trino, program
from fetch import OPTIONAL, STACK, Cache, FetchError
from java import JavaError
from servers import BUCKET, client_environment, read_only_keys, signed
from servers import SERVERS as OWN_SERVERS
from watching import Alertmanager, Prometheus

SERVERS = (*OWN_SERVERS, Flink, FlinkTaskManager, Trino, Alertmanager, Prometheus)

ROOT = Path(__file__).resolve().parents[2]
STATE_VERSION = 1
PORTS = range(20000, 32000)
PORT_PATIENCE_SECONDS = 5


class StackError(Exception):
    """The stack can't do what it was asked; the text says why and where to look."""


def say(text: str) -> None:
    print(f"stack: {text}", file=sys.stderr, flush=True)


class Stack:
    """One state folder. `state` is what state.json holds."""

    def __init__(self, folder: Path, cache: Cache):
        self.folder = folder
        self.cache = cache
        self.path = folder / "state.json"
        self.state = {"version": STATE_VERSION, "ports": {}, "secrets": {}, "servers": {}}
        if self.path.exists():
            self.state = json.loads(self.path.read_text())
        if self.state["version"] != STATE_VERSION:
            raise StackError(
                f"{self.path}: found version {self.state['version']}, wanted {STATE_VERSION}: remove the folder"
            )

    @contextmanager
    def locked(self):
        """One command at a time for each state folder."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self.__init__(self.folder, self.cache)  # what another command wrote while this one waited
            yield

    def _save(self) -> None:
        new = self.path.with_suffix(".new")
        with open(new, "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:  # it holds keys
            json.dump(self.state, file, indent=2)
        new.rename(self.path)

    def _servers(self) -> list:
        folders = [self.folder / server.name for server in SERVERS]
        made = zip(SERVERS, folders)
        return [server(self.cache, folder, self.state["ports"], self.state["secrets"]) for server, folder in made]

    def _server(self, name: str):
        found = next((server for server in self._servers() if server.name == name), None)
        if found is None:
            raise StackError(f"found server {name!r}, wanted one of {', '.join(s.name for s in SERVERS)}")
        return found

    def _process(self, name: str) -> dict | None:
        return self.state["servers"].get(name)

    def _log(self, name: str) -> Path:
        return self.folder / "logs" / f"{name}.log"

    def up(self) -> None:
        """Starts what isn't running and returns when every server answers."""
        started = time.monotonic()
        self.cache.fetch()
        if not self.state["secrets"]:
            self.state["secrets"] = {"s3_access_key": "rva", "s3_secret_key": secrets.token_hex(16)}
        servers = [server for server in self._servers() if not server.is_optional]
        self._choose_ports(servers)
        fresh = [server for server in servers if not process.is_alive(self._process(server.name))]
        try:
            for server in fresh:
                self._launch(server)
            self._wait(servers, fresh)
        except BaseException:  # also Ctrl-C: a half stack is no stack; what ran before stays
            for server in fresh:
                process.stop(self._process(server.name), 0)
            raise
        say(f"up in {time.monotonic() - started:.1f} s: {self.path}")

    def _choose_ports(self, servers: list) -> None:
        names = [name for server in servers for name in server.ports_needed]
        held = []  # open until all are chosen, so that none is chosen twice
        for name in names:
            for port in random.sample(PORTS, 200) if name not in self.state["ports"] else []:
                listener = socket.socket()
                try:
                    listener.bind(("0.0.0.0", port))
                except OSError:
                    listener.close()
                    continue
                held.append(listener)
                self.state["ports"][name] = port
                break
        for listener in held:
            listener.close()
        missing = [name for name in names if name not in self.state["ports"]]
        if missing:
            raise StackError(f"found no free port for {missing} in {PORTS.start} to {PORTS.stop}")
        self.state["secrets"].setdefault("token_key", secrets.token_hex(32))
        self.state["secrets"].setdefault("client_secret", secrets.token_hex(16))
        self.state["environment"] = client_environment(self.folder, self.state["ports"], self.state["secrets"])
        self._save()

    @staticmethod
    def _await_port(name: str, port: int) -> None:
        """Waits until a port is free: threads of a program that was killed may hold it for a moment after its process is gone."""
        end = time.monotonic() + PORT_PATIENCE_SECONDS
        while True:
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(("0.0.0.0", port))
                    return
                except OSError as error:
                    if time.monotonic() > end:
                        raise StackError(
                            f"port {port} of {name} is taken by another program ({error}): end that, or choose anew with stack.py down --purge"
                        ) from error
            time.sleep(0.05)

    def _launch(self, server) -> None:
        for name in server.ports_needed:
            port = self.state["ports"][name]
            self._await_port(name, port)
        server.folder.mkdir(parents=True, exist_ok=True)
        log = self._log(server.name)
        log.parent.mkdir(exist_ok=True)
        self.state["servers"][server.name] = process.start(server.command(), server.environment(), log, server.folder)
        self._save()

    def _wait(self, servers: list, fresh: list) -> None:
        started = time.monotonic()
        waiting = list(servers)
        while waiting:
            for server in list(waiting):
                seconds = time.monotonic() - started
                if not process.is_alive(self._process(server.name)):
                    raise StackError(f"{server.name} ended while it started{self._tail(server.name)}")
                if server.is_ready() and server.is_set_up():
                    waiting.remove(server)
                    word = f"ready after {seconds:.1f} s" if server in fresh else "was running"
                    memory = process.memory_mb(self._process(server.name))
                    say(f"{server.name} {word}, process {self._process(server.name)['pid']}, {memory} MB")
                elif seconds > server.ready_seconds:
                    raise StackError(f"{server.name} isn't ready after {seconds:.0f} s{self._tail(server.name)}")
            time.sleep(0.1 if waiting else 0)

    def _tail(self, name: str) -> str:
        lines = self._log(name).read_text(errors="replace").splitlines()[-15:]
        return f"; the end of {self._log(name)}:\n" + "\n".join(f"  {line}" for line in lines)

    def down(self, purge: bool) -> None:
        """Stops what this stack started, the newest first; data and logs stay unless they are purged."""
        for server in reversed(self._servers()):
            if server.is_optional and not self._process(server.name):
                continue
            started = time.monotonic()
            word = process.stop(self._process(server.name), server.grace_seconds)
            say(f"{server.name} {word} in {time.monotonic() - started:.1f} s")
        self.state["servers"] = {}
        self._save()
        if purge:
            shutil.rmtree(self.folder)
            say(f"removed {self.folder}")

    def kill(self, name: str) -> None:
        """SIGKILL, as a crash would."""
        for server in self._group(name):
            say(f"{server.name} {process.stop(self._process(server.name), 0)}")

    def _group(self, name: str) -> list:
        """A server and those that are started with it."""
        self._server(name)
        return [server for server in self._servers() if name in (server.name, server.group)]

    def start(self, name: str) -> None:
        """Starts one server again on its data and waits for it; those that belong to it too."""
        servers = self._group(name)
        if not self.state["ports"]:
            raise StackError(f"found no stack in {self.folder}, wanted one that was up: stack.py up")
        for needed in dict.fromkeys(need for server in servers for need in server.needs):
            self.start(needed)
        self.cache.fetch(tuple(package for server in servers for package in server.packages))
        servers = self._group(name)
        self._choose_ports(servers)  # of those that `up` leaves alone
        fresh = [server for server in servers if not process.is_alive(self._process(server.name))]
        for server in fresh:
            self._launch(server)
        self._wait(servers, fresh)

    def run(self, name: str, arguments: list[str]) -> int:
        """Runs Spark or Flink's SQL client against this stack, in the foreground; its exit code."""
        if not self.state["ports"]:
            raise StackError(f"found no stack in {self.folder}, wanted one that was up: stack.py up")
        self.cache.fetch(PROGRAMS[name])
        command, environment = program(name, self.cache, self.folder, self.state["environment"], arguments)
        return subprocess.run([str(part) for part in command], env=environment, check=False).returncode

    def status(self, form: str) -> bool:
        """Prints what runs; true when all of it does and answers."""
        if form == "env":
            for name, value in self.state.get("environment", {}).items():
                print(f"export {name}={shlex.quote(value)}")
        well = bool(self.state["ports"])
        for server in self._servers() if well else []:
            if server.is_optional and not self._process(server.name):
                continue
            running = process.is_alive(self._process(server.name))
            ready = running and server.is_ready()
            well = well and ready
            word = "ready" if ready else "runs, doesn't answer" if running else "stopped"
            ports = ", ".join(f"{name} {self.state['ports'][name]}" for name in server.ports_needed)
            detail = (
                f", process {self._process(server.name)['pid']}, {process.memory_mb(self._process(server.name))} MB"
                if running
                else ""
            )
            say(f"{server.name:8} {word}, {ports}{detail}, log {self._log(server.name)}")
        if not self.state["ports"]:
            say(f"found no stack in {self.folder}")
        return well


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--state", type=Path, default=Path(os.environ.get("RVA_STACK") or ROOT / "data/stack"))
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up", help="start what isn't running, wait until every server answers")
    fetch = commands.add_parser("fetch", help="only fetch the servers; prints where each lies")
    fetch.add_argument(
        "names", nargs="*", metavar="NAME", help=f"{', '.join(STACK + OPTIONAL)} [default: {', '.join(STACK)}]"
    )
    down = commands.add_parser("down", help="stop what this stack started")
    down.add_argument("--purge", action="store_true", help="and remove its data, logs and ports")
    status = commands.add_parser("status", help="what runs; exit code 1 unless all of it answers")
    status.add_argument("--env", action="store_true", help="also print the addresses as shell exports")
    commands.add_parser("uploads", help="print what uploads in parts MinIO holds unfinished")
    commands.add_parser(
        "read-only-keys", help="print keys of MinIO's that may only read, as its token service gives them"
    )
    commands.add_parser("make-other-bucket", help="make the bucket in minio-other, which has none")
    for name in ("kill", "start"):
        commands.add_parser(name, help=f"{name} one server").add_argument("server")
    run = commands.add_parser("run", help="run a program against the stack: " + ", ".join(PROGRAMS))
    run.add_argument("program", choices=PROGRAMS)
    run.add_argument("arguments", nargs=argparse.REMAINDER)
    arguments = parser.parse_args()
    cache = Cache(Path(os.environ.get("RVA_STACK_CACHE") or ROOT / "data/cache/stack").absolute(), say)
    try:
        if arguments.command == "fetch":
            for folder in cache.fetch(tuple(arguments.names) or STACK):
                print(folder)
            return 0
        stack = Stack(arguments.state.absolute(), cache)
        if arguments.command == "status":
            return 0 if stack.status("env" if arguments.env else "text") else 1
        if not stack.path.exists() and arguments.command != "up":
            say(f"found no stack in {stack.folder}")
            return 0 if arguments.command == "down" else 1
        if arguments.command in ("uploads", "read-only-keys", "make-other-bucket"):
            ports, keys = stack.state["ports"], stack.state["secrets"]
            match arguments.command:
                case "uploads":
                    status, body = signed(ports, keys, "GET", f"/{BUCKET}", "uploads=")
                case "read-only-keys":
                    status, body = read_only_keys(ports, keys)
                case _:
                    status, body = signed(ports | {"minio": ports["minio_other"]}, keys, "PUT", f"/{BUCKET}")
            print(body)
            return 0 if status == 200 else 1
        if arguments.command == "run":
            return stack.run(arguments.program, arguments.arguments)
        with stack.locked():
            match arguments.command:
                case "up":
                    stack.up()
                case "down":
                    stack.down(arguments.purge)
                case "kill":
                    stack.kill(arguments.server)
                case "start":
                    stack.start(arguments.server)
    except (StackError, FetchError, EngineError, JavaError) as error:
        say(str(error))
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
