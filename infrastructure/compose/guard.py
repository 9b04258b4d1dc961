"""What each container may do, read and reach: tried from inside it, each refusal beside something that is allowed."""

import base64
import hashlib
import hmac
import json
import re
import socket
import subprocess
import sys
import threading
from pathlib import Path

from project import ADDRESS, ENVIRONMENT, NETWORKS, PROJECT, SECRETS, compose, container, docker, run, say

HERE = Path(__file__).resolve().parent
TOPIC = "persistent/retail/metadata/events"
# Their images have a small shell and few folders.
WATCHING = ("prometheus", "alertmanager")
RUNNING = ("pulsar", "minio", "catalog", "ingest", "refine", "trino", *WATCHING)
# These end, so that a container of the same settings that sleeps stands in for each.
ENDED = ("bucket", "init", "rights", "detector")

# What each finds in /run/secrets, and what it can open, of what there is to open.
SECRETS_OF = {
    "pulsar": {"pulsar-public.der", "pulsar-token-broker", "pulsar-zookeeper.jaas"},
    "minio": {"minio-root-user", "minio-root-password"},
    "bucket": {"minio-root-user", "minio-root-password"}
    | {f"minio-{name}" for name in ("ingest", "refine", "catalog", "trino", "spark")},
    "catalog": {"minio-catalog"},
    "init": {"minio-ingest", "pulsar-token-admin"},
    "rights": {"pulsar-token-admin"},
    "detector": {"pulsar-token-detector"},
    "ingest": {"minio-ingest", "pulsar-token-ingest"},
    "refine": {"minio-refine"},
    "trino": {"minio-trino"},
    "prometheus": set(),
    "alertmanager": {"alert-webhook"},
}
PORTS = {
    "pulsar": (6650, 8080, 2181, 3181),
    "minio": (9000,),
    "catalog": (8181,),
    "trino": (8080,),
    "ingest": (8080,),
    "refine": (8080,),
    "prometheus": (9090,),
    "alertmanager": (9093,),
}
PUBLISHED = (6650, 8082, 9000, 9001, 8181, 8083, 9090, 9093)
# ZooKeeper's port can be opened; what it says is tried on its own.
BUS = {"pulsar:6650", "pulsar:8080", "pulsar:2181", "ingest:8080"}
LAKE = {"minio:9000", "catalog:8181", "trino:8080", "ingest:8080", "refine:8080"}
METRICS = {"ingest:8080", "refine:8080", "prometheus:9090"}
WATCH = {"prometheus:9090", "alertmanager:9093", "trino:8080"}
REACHES = {
    "detector": BUS | METRICS,
    "rights": BUS,
    "pulsar": BUS,
    "ingest": BUS | LAKE | METRICS,
    "init": BUS | LAKE,
    "minio": LAKE,
    "bucket": LAKE,
    "catalog": LAKE,
    "refine": LAKE | METRICS,
    "trino": LAKE | WATCH,
    "prometheus": METRICS | WATCH,
    "alertmanager": WATCH,
}
ASK_PORTS = """
for target in "$@"; do
  (timeout 4 bash -c "</dev/tcp/${target/:/\\/}" 2>/dev/null && echo "$target") &
done
wait
"""


class Inside:
    """A container of a service: the one that runs, or one of the same settings that sleeps."""

    def __init__(self, service: str):
        self.service = service
        self.name = container(service)
        self.shell = "sh" if service in WATCHING else "bash"
        if service in ENDED:
            self.name = f"{PROJECT}-probe-{service}"
            compose("run", "--detach", "--no-deps", "--name", self.name, "--entrypoint", "sleep", service, "900")

    def run(self, script: str, *arguments: str, user: str | None = None) -> subprocess.CompletedProcess:
        who = ["--user", user] if user else []
        return run("docker", "exec", *who, self.name, self.shell, "-c", script, "sh", *arguments, check=False)

    def says(self, script: str, *arguments: str, user: str | None = None) -> str:
        done = self.run(script, *arguments, user=user)
        assert done.returncode == 0, f"{self.service}: {script.strip()[:200]}: {done.stdout}{done.stderr}"
        return done.stdout

    def pid(self) -> str:
        return docker("inspect", "--format", "{{.State.Pid}}", self.name).strip()

    def in_network(self, *arguments: str, **more) -> str:
        """What a program of this machine says in the container's network."""
        return run("nsenter", "--net", "--target", self.pid(), *arguments, **more).stdout

    def wire(self, **request) -> str:
        return self.in_network(sys.executable, str(HERE / "wire.py"), input=json.dumps(request)).strip()

    def opens(self, places: list[str]) -> set[str]:
        return set(self.in_network("bash", "-c", ASK_PORTS, "bash", *places).split())


def expect(what: str, found, wanted) -> None:
    assert found == wanted, f"{what}: found {found}, wanted {wanted}"


def refused(what: str, done: subprocess.CompletedProcess, why: str) -> None:
    text = done.stdout + done.stderr
    assert done.returncode != 0 and re.search(why, text), (
        f"{what}: found exit code {done.returncode}, {text[:400]!r}, wanted {why!r}"
    )


def settings() -> dict:
    return json.loads(compose("config", "--format", "json"))["services"]


def check_confinement(inside: Inside, wanted: dict) -> None:
    """No capability, none to be had, nothing to be written but data, and the bounds of the file."""
    service = inside.service
    status = dict(re.findall(r"^(Cap\w+|NoNewPrivs|Uid):\s+(\S+)", inside.says("cat /proc/1/status"), re.MULTILINE))
    uid = status.pop("Uid")
    assert uid != "0", f"{service} runs as root"
    none = {f"Cap{name}": "0" * 16 for name in ("Inh", "Prm", "Eff", "Bnd", "Amb")} | {"NoNewPrivs": "1"}
    expect(f"{service}: /proc/1/status", status, none)
    # As root, who would be let by the rights of the folders.
    for folder in ("/", "/etc") if service in WATCHING else ("/", "/etc", "/usr/bin", "/opt"):
        refused(
            f"{service}: write to {folder}", inside.run(f"touch {folder}/denied", user="0"), "Read-only file system"
        )
    data = {volume["target"] for volume in wanted.get("volumes", []) if not volume.get("read_only")}
    scratch = {entry.split(":")[0] for entry in wanted["tmpfs"]}
    mounts = [line.split()[1:4] for line in inside.says("cat /proc/mounts").splitlines()]
    own = {
        path
        for path, _, options in mounts
        if options.split(",")[0] == "rw" and not re.match(r"/(proc|dev|sys)\b|/etc/\w", path)
    }
    expect(f"{service}: what can be written", own, data | scratch)
    inside.says("echo x >/tmp/allowed && rm /tmp/allowed")
    limit = "cat /sys/fs/cgroup/$1 2>/dev/null || cat /sys/fs/cgroup/$2"
    pids = inside.says(limit, "pids.max", "pids/pids.max").strip()
    expect(f"{service}: pids.max", pids, str(wanted["pids_limit"]))
    memory = inside.says(limit, "memory.max", "memory/memory.limit_in_bytes").strip()
    expect(f"{service}: memory", memory, str(wanted["mem_limit"]))


def check_forks(inside: Inside) -> None:
    done = inside.run("for i in $(seq 400); do sleep 20 & done; wait")
    refused(f"{inside.service}: 400 processes", done, "Resource temporarily unavailable|fork: retry")


def secret_values() -> set[str]:
    """Every word that must not be seen: the files' contents, and what stands within the Java ones."""
    values = set()
    for file in SECRETS.iterdir():
        if file.suffix == ".der" or file.name == "minio-root-user":
            continue
        text = file.read_text()
        values |= {line for line in text.splitlines() if len(line) > 40 and "-----" not in line}
        values |= set(re.findall(r"[0-9a-f]{40,}", text))
    return values | {(SECRETS / "minio-root-user").read_text().strip()}


def check_secrets(inside: Inside, values: set[str]) -> None:
    service = inside.service
    found = set(inside.says("ls /run/secrets 2>/dev/null || true").split())
    expect(f"{service}: /run/secrets", found, SECRETS_OF[service])
    seen = inside.says("cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\\n'; true")
    assert "PATH=" in seen, f"{service}: found no environment to look at"
    seen += docker("inspect", inside.name)
    shown = [value for value in values if value in seen]
    assert not shown, f"{service}: found {len(shown)} secrets in environment, arguments or settings"
    if found:
        write = inside.run("for f in /run/secrets/*; do echo x >>$f; done", user="0")
        refused(f"{service}: write its secrets", write, "Read-only|denied")


def check_folder() -> None:
    """Nobody else on the machine reads the folder; the key that signs tokens is its owner's alone."""
    expect("mode of the secrets' folder", oct(SECRETS.stat().st_mode & 0o777), "0o700")
    expect("mode of the signing key", oct((SECRETS / "pulsar-signing.pem").stat().st_mode & 0o777), "0o400")
    for file in sorted(SECRETS.iterdir()):
        file.read_bytes()
        someone = run(
            "setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "cat", str(file), check=False
        )
        refused(f"somebody else reads {file.name}", someone, "Permission denied")
    mounted = {secret["source"] for service in settings().values() for secret in service.get("secrets", [])}
    assert "pulsar-signing.pem" not in mounted and mounted, f"found {mounted}"


def check_logs(values: set[str]) -> None:
    logs = compose("logs", "--no-color")
    assert "committed up to" in logs, "found no log to look at"
    shown = [value for value in values if value in logs]
    assert not shown, f"found {len(shown)} secrets in the logs"


def check_arguments(values: set[str]) -> None:
    """Makes the store's users once more, and meanwhile looks at the arguments of every process of the machine."""
    done, seen, shown = threading.Event(), set(), set()

    def look():
        while not done.is_set():
            for folder in Path("/proc").iterdir():
                try:
                    line = (folder / "cmdline").read_bytes().decode(errors="replace") if folder.name.isdigit() else ""
                except OSError:
                    continue
                if line.startswith("mc\0"):
                    seen.add(line)
                    shown.update(value for value in values if value in line)

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        compose("run", "--rm", "--no-deps", "bucket")
    finally:
        done.set()
        watcher.join()
    assert len(seen) > 3, f"saw {len(seen)} processes of mc, wanted what it does to be seen"
    assert not shown, f"found {len(shown)} secrets in the arguments of mc"


def networks_of(name: str) -> dict[str, dict]:
    return json.loads(docker("inspect", "--format", "{{json .NetworkSettings.Networks}}", name))


def addresses() -> dict[str, set[str]]:
    """service:port → the same with each address that the service has."""
    found = {}
    for service, ports in PORTS.items():
        places = [network["IPAddress"] for network in networks_of(container(service)).values()]
        for port in ports:
            found[f"{service}:{port}"] = {f"{place}:{port}" for place in places}
    return found


def check_reach(inside: Inside, targets: dict[str, set[str]]) -> None:
    """By address, since a name that isn't known is no wall; and through the ports that the machine itself offers."""
    service = inside.service
    everything = sorted(set().union(*targets.values()))
    opened = inside.opens(everything)
    found = {name for name, places in targets.items() if opened & places}
    expect(f"{service}: what it can open", found, REACHES[service])
    gateways = [network["Gateway"] for network in networks_of(inside.name).values() if network["Gateway"]]
    published = [f"{gateway}:{port}" for gateway in gateways for port in PUBLISHED]
    expect(f"{service}: ports of this machine", inside.opens(published), set())


def check_names(detector: Inside, ingest: Inside, alertmanager: Inside) -> None:
    for name in ("minio", "catalog", "trino"):
        ingest.says(f"getent hosts {name}")
        refused(f"detector: the name {name}", detector.run(f"getent hosts {name}"), "")
    # Where it goes from there: the detector to cameras, Alertmanager to webhooks; the ingest nowhere, since nothing translates
    # its address.
    for inside, network in ((detector, "outside"), (alertmanager, "notify")):
        template = "{{(index .IPAM.Config 0).Gateway}}"
        gateway = docker("network", "inspect", "--format", template, NETWORKS[network]).strip()
        route = [line.split() for line in inside.says("cat /proc/net/route").splitlines()[1:]]
        default = [fields[2] for fields in route if fields[1] == "00000000"]
        wanted = ["".join(f"{int(part):02X}" for part in reversed(gateway.split(".")))]
        expect(f"{inside.service}: default route", default, wanted)
    for network in ("lake", "broker", "watch"):
        option = '{{index .Options "com.docker.network.bridge.enable_ip_masquerade"}}'
        expect(
            f"network {network}", docker("network", "inspect", "--format", option, NETWORKS[network]).strip(), "false"
        )
    for network in ("retail-net", "metrics"):
        inner = docker("network", "inspect", "--format", "{{.Internal}}", NETWORKS[network]).strip()
        expect(f"network {network}", inner, "true")


def own_address() -> str:
    return run("hostname", "-I").stdout.split()[0]


def check_ports() -> None:
    """What listens on this machine for the project listens on the address that was asked for."""
    names = docker("ps", "--filter", f"name={PROJECT}-", "--format", "{{.Ports}}")
    hosts = set(re.findall(r"([\d.]+|\[?::\]?):\d+->", names))
    expect("addresses with ports", hosts, {ADDRESS})
    bare = {name: value for name, value in ENVIRONMENT.items() if name not in ("RVA_BIND", "RVA_BIND_OPEN")}
    config = ["docker", "compose", "--env-file", "/dev/null", "--profile", "*", "config", "--format", "json"]
    services = json.loads(run(*config, env=bare).stdout)["services"].values()
    defaults = [port.get("host_ip") for service in services for port in service.get("ports", [])]
    assert len(defaults) > 5 and set(defaults) == {"127.0.0.1"}, f"found {defaults}"
    for port in PUBLISHED:
        # The machine's own address isn't loopback's; that one answers.
        for address, wanted in ((ADDRESS, True), (own_address(), False)):
            with socket.socket() as probe:
                probe.settimeout(4)
                expect(f"{address}:{port} answers", probe.connect_ex((address, port)) == 0, wanted)


def check_store(bucket: Inside, detector: Inside) -> None:
    """Each user of the store does what it needs, and nothing else. mc's own parts are larger than the container's memory."""
    bucket.says("""
        cat /run/secrets/minio-root-user /run/secrets/minio-root-password | mc alias set store http://minio:9000
        for name in ingest refine catalog trino spark; do
          printf '%s\\n' rva-$name "$(sed -n '$s/^.* = //; $p' /run/secrets/minio-$name)" | mc alias set $name http://minio:9000
        done
        echo x >/tmp/x; mc mb --ignore-existing store/private && echo x | mc pipe --part-size 5MiB store/private/object
        # What each may.
        set -e
        echo x | mc pipe --part-size 5MiB ingest/warehouse/probe/data/a.parquet
        echo x | mc pipe --part-size 5MiB catalog/warehouse/probe/metadata/1.metadata.json
        echo x | mc pipe --part-size 5MiB refine/warehouse/rva/gold_probe/data/a.parquet
        mc rm refine/warehouse/rva/gold_probe/data/a.parquet
        for name in ingest refine trino spark; do mc cat $name/warehouse/probe/data/a.parquet; mc ls $name/warehouse/probe/; done
        mc cat catalog/warehouse/probe/metadata/1.metadata.json
    """)
    objects = "warehouse/probe/data/a.parquet"
    denied = [
        f"mc {what}"
        for user in ("ingest", "refine", "catalog", "trino", "spark")
        for what in (
            f"ls {user}/private",
            f"cat {user}/private/object",
            f"rm {user}/private/object",
            f"mb {user}/new",
            f"rb {user}/private",
            f"admin user ls {user}",
            f"admin policy ls {user}",
            f"admin info {user}",
            f"admin service stop {user}",
            f"admin user svcacct add {user} rva-{user}",
        )
    ]
    denied += [
        f"printf 'intruder\\nintruder-secret\\n' | mc admin user add {user}"
        for user in ("ingest", "refine", "catalog", "trino", "spark")
    ]
    denied += [f"mc cp /tmp/x {user}/private/mine" for user in ("ingest", "refine", "catalog", "trino", "spark")]
    # Bronze is read by refine, and never written.
    for user in ("refine", "trino", "spark"):
        denied += [f"mc cp /tmp/x {user}/warehouse/mine", f"mc rm {user}/{objects}"]
    denied += [f"mc cat catalog/{objects}", f"mc rm catalog/{objects}", "mc cp /tmp/x catalog/warehouse/probe/data/mine.parquet",
               "mc ls catalog/warehouse/"]  # fmt: skip
    # One call for all: each answers with its exit code and its last words.
    script = "\n".join(f"said=$( ({command}) 2>&1); echo \"$? $said\" | tr '\\n' ' '; echo" for command in denied)
    for command, line in zip(denied, bucket.says(f"set -o pipefail\n{script}").splitlines(), strict=True):
        assert not line.startswith("0 ") and re.search("Access Denied|Insufficient permissions|not allowed", line), (
            f"{command}: found {line!r}"
        )
    bucket.says(
        f"mc cat store/private/object store/{objects} && mc rb --force store/private && mc rm --recursive --force store/warehouse/probe"
    )
    assert "S3" not in detector.says("env"), "the detector knows of the store"


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def forged_tokens(directory: Path) -> dict[str, str]:
    """An administrator's tokens that nobody signed, or another key, or the public one as if it were a secret."""

    def head(algorithm: str) -> str:
        return ".".join(
            base64url(json.dumps(part).encode()) for part in ({"alg": algorithm, "typ": "JWT"}, {"sub": "admin"})
        )

    key = directory / "other.pem"
    run("openssl", "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", str(key))
    signed = subprocess.run(
        ["openssl", "dgst", "-sha256", "-sign", str(key)], input=head("RS256").encode(), capture_output=True, check=True
    )
    key.unlink()
    public = (SECRETS / "pulsar-public.der").read_bytes()
    return {
        "another key's": f"{head('RS256')}.{base64url(signed.stdout)}",
        "nobody's": f"{head('none')}.",
        "the public key's": f"{head('HS256')}.{base64url(hmac.new(public, head('HS256').encode(), hashlib.sha256).digest())}",
    }


def ask_admin(inside: Inside, token: str | None, method: str, path: str, body: str = "") -> int:
    """The status of a request to the broker's admin interface, from the network of a container."""
    script = (
        "import sys,json,urllib.request as u,urllib.error as e\n"
        "r=json.load(sys.stdin)\n"
        "try: print(u.urlopen(u.Request(r['url'],r['body'].encode() or None,r['headers'],method=r['method']),timeout=20).status)\n"
        "except e.HTTPError as error: print(error.code)\n"
    )
    headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {token}"} if token else {})
    request = {"url": f"http://{broker()}:8080/{path}", "method": method, "headers": headers, "body": body}
    arguments = ["nsenter", "--net", "--target", inside.pid(), sys.executable, "-c", script]
    return int(run(*arguments, input=json.dumps(request)).stdout)


def broker() -> str:
    """The broker's address on the network that its clients share."""
    template = f'{{{{(index .NetworkSettings.Networks "{NETWORKS["retail-net"]}").IPAddress}}}}'
    return docker("inspect", "--format", template, container("pulsar")).strip()


def check_broker(detector: Inside, ingest: Inside) -> None:
    """The detector sends and nothing else, the ingest reads and nothing else, and nobody else does anything."""
    token = {role: (SECRETS / f"pulsar-token-{role}").read_text().strip() for role in ("admin", "detector", "ingest")}
    partition = f"{TOPIC.replace('/', '://', 1)}-partition-0"
    host = broker()
    for inside, role, may, may_not in (
        (detector, "detector", "produce", "consume"),
        (ingest, "ingest", "consume", "produce"),
    ):
        ask = lambda doing, token, inside=inside: inside.wire(
            what="pulsar", host=host, token=token, doing=doing, topic=partition
        )
        expect(f"{role}: {may}", ask(may, token[role]).split()[0], {"produce": "producer", "consume": "success"}[may])
        said = ask(may_not, token[role])
        assert said.startswith("error") and "not authorized" in said, f"{role}: {may_not}: found {said!r}"
        for name, wrong in ({"no": None} | forged_tokens(SECRETS)).items():
            said = ask(may, wrong)
            assert said.startswith("refused"), f"{role}: {may} with {name} token: found {said!r}"
    expect("detector: ZooKeeper, as nobody", detector.wire(what="zookeeper", host=host), "code -124")
    permissions, subscription = f"admin/v2/{TOPIC}/permissions", f"admin/v2/{TOPIC}-partition-0/subscription"
    requests = [
        ("GET", "admin/v2/tenants", ""), ("PUT", "admin/v2/tenants/mine", "{}"), ("GET", "metrics/", ""),
        ("POST", f"{permissions}/detector", '["produce","consume"]'), ("POST", f"{permissions}/ingest", '["produce","consume"]'),
        ("DELETE", f"admin/v2/{TOPIC}/partitions", ""), ("POST", f"admin/v2/{TOPIC}/partitions", "9"),
        ("POST", "admin/v2/namespaces/retail/metadata/retention", '{"retentionTimeInMinutes":0,"retentionSizeInMB":0}'),
        ("PUT", "admin/v2/persistent/retail/metadata/mine/partitions", "1"),
    ]  # fmt: skip
    peek = ("GET", f"{subscription}/rva-ingest/position/1", "")
    for name, value in (
        {"no": None, "detector": token["detector"], "ingest": token["ingest"]} | forged_tokens(SECRETS)
    ).items():
        tries = requests + ([peek, ("DELETE", f"{subscription}/rva-ingest", "")] if name != "ingest" else [])
        if name in ("detector", "ingest"):
            tries = [request for request in tries if request[1] != "metrics/"]  # who is known may read figures
        for method, path, body in tries:
            status = ask_admin(detector, value, method, path, body)
            assert status in (401, 403), f"{method} {path} with {name} token: found {status}, wanted 401 or 403"
    expect("an administrator's token", ask_admin(detector, token["admin"], "GET", "admin/v2/tenants"), 200)


def check_refusals() -> None:
    """Trino changes nothing; our own programs say what their token may not; nothing starts without secrets."""
    for sql in ("DELETE FROM lakehouse.rva.bronze_raw", "DROP TABLE lakehouse.rva.bronze_raw", "CREATE SCHEMA lakehouse.mine",
                "CREATE TABLE lakehouse.rva.mine (a int)"):  # fmt: skip
        done = run("docker", "exec", container("trino"), "trino", "--execute", sql, check=False)
        refused(f"trino: {sql}", done, "Access Denied")
    run_ingest = ["docker", "compose", "--project-name", PROJECT, "run", "--rm", "--no-deps"]
    token = f"{SECRETS}/pulsar-token-detector:/opt/token:ro"
    for arguments, why in ((["-v", token, "-e", "PULSAR_TOKEN_FILE=/opt/token"], "wanted a token whose role may"),
                           (["-e", "PULSAR_TOKEN_FILE="], "wanted a token that the broker accepts")):  # fmt: skip
        refused("ingest with another token", run(*run_ingest, *arguments, "ingest", check=False), why)
    bare = {name: value for name, value in ENVIRONMENT.items() if name != "RVA_SECRETS"}
    for arguments in (["config"], ["up", "--detach"]):
        nowhere = ["docker", "compose", "--env-file", "/dev/null", "--project-name", f"{PROJECT}-none"]
        done = run(*nowhere, *arguments, check=False, env=bare)
        refused("compose without secrets", done, "RVA_SECRETS.*make env")


def check_all() -> None:
    values, wanted = secret_values(), settings()
    insides = {service: Inside(service) for service in (*RUNNING, *ENDED)}
    try:
        check_each(insides, wanted, values)
    finally:
        docker("rm", "--force", *(inside.name for service, inside in insides.items() if service in ENDED))
    check_folder()
    check_logs(values)
    check_arguments(values)
    check_ports()
    check_refusals()
    say(
        "secrets: in no log, argument or environment, and for nobody else on this machine; ports only where they were asked for"
    )


def check_each(insides: dict[str, Inside], wanted: dict, values: set[str]) -> None:
    detector, ingest = insides["detector"], insides["ingest"]
    for service, inside in insides.items():
        check_confinement(inside, wanted[service])
        check_secrets(inside, values)
    say(f"{len(insides)} containers: no capability, nothing to write but data, bounds hold, secrets as files")
    targets = addresses()
    for inside in insides.values():
        check_reach(inside, targets)
    check_names(detector, ingest, insides["alertmanager"])
    say("each reaches what it needs and nothing else")
    check_store(insides["bucket"], detector)
    say("the store's users do what they need and nothing else")
    check_broker(detector, ingest)
    say("the broker: the detector sends, the ingest reads, nobody else does anything")
    check_forks(insides["rights"])
