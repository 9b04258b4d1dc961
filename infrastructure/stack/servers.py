"""The servers of the native stack: how each is started, and how it says that it is ready.

Settings stand in the .env files beside this one, which a compose file can take as they are; here come only addresses,
folders and keys of one state folder.
"""

import base64
import datetime
import hashlib
import hmac
import json
import os
import shutil
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from java import find_java

HERE = Path(__file__).resolve().parent
BUCKET = "warehouse"
REGION = "us-east-1"


def read_settings(path: Path) -> dict[str, str]:
    lines = path.read_text().splitlines() if path.exists() else []
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def get(url: str, token: str | None = None) -> str | None:
    """The body of a GET that answered 200, else None."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=5) as answer:
            return answer.read(1 << 16).decode(errors="replace")
    except (urllib.error.URLError, OSError):
        return None


@dataclass
class Server:
    """A server of one stack. `folder` holds its data."""

    cache: object
    folder: Path
    ports: dict[str, int]
    secrets: dict[str, str]

    ports_needed = ()
    # Started only by name; `up` leaves it alone.
    is_optional = False
    # What is fetched when it is started, beside what `up` fetches.
    packages = ()
    # Started together with the server of this name.
    group = None
    # Started before it.
    needs = ()
    grace_seconds = 20.0
    ready_seconds = 180.0

    def environment(self) -> dict[str, str]:
        return self._inherited(self.name)

    def _inherited(self, settings: str) -> dict[str, str]:
        keep = ("PATH", "HOME", "LANG", "JAVA_HOME", "TMPDIR")
        return {name: os.environ[name] for name in keep if name in os.environ} | self._settings(settings)

    def _settings(self, name: str) -> dict[str, str]:
        """The project's, and over them `own.env` of the server's folder in this stack: a test may want another limit."""
        return read_settings(HERE / f"{name}.env") | read_settings(self.folder / "own.env")

    def is_set_up(self) -> bool:
        """Does what must be there before anybody uses the server, which answers; false where it is too early."""
        return True


class Pulsar(Server):
    """Standalone: broker, bookie and ZooKeeper in one process."""

    name = "pulsar"
    ports_needed = ("pulsar", "pulsar_admin", "pulsar_zookeeper", "pulsar_bookie")

    def _write_configuration(self) -> Path:
        prefix = "PULSAR_PREFIX_"
        wanted = {k.removeprefix(prefix): v for k, v in self._settings("pulsar").items() if k.startswith(prefix)}
        service, admin = self.ports_needed[:2]
        wanted |= {
            "brokerServicePort": str(self.ports[service]),
            "webServicePort": str(self.ports[admin]),
            "bindAddress": "127.0.0.1",
            "advertisedAddress": "127.0.0.1",
            # The bookie.
            "listeningInterface": "lo",
            "allowLoopback": "true",
        } | self._more_settings()
        lines = (self.cache.pulsar / "conf/standalone.conf").read_text().splitlines()
        kept = [line for line in lines if line.partition("=")[0] not in wanted]
        path = self.folder / "standalone.conf"
        path.write_text("\n".join(kept + [f"{key}={value}" for key, value in wanted.items()]) + "\n")
        return path

    def _more_settings(self) -> dict[str, str]:
        return {}

    def command(self) -> list:
        zookeeper, bookie = (str(self.ports[name]) for name in self.ports_needed[2:4])
        return [
            self.cache.pulsar / "bin/pulsar", "standalone", "--no-stream-storage", "--no-functions-worker",
            "--bookkeeper-dir", self.folder / "bookkeeper", "--bookkeeper-port", bookie,
            "--zookeeper-dir", self.folder / "zookeeper", "--zookeeper-port", zookeeper,
        ]  # fmt: skip

    def environment(self) -> dict[str, str]:
        logs = self.folder / "logs"
        logs.mkdir(exist_ok=True)
        return self._inherited("pulsar") | {
            "PULSAR_STANDALONE_CONF": str(self._write_configuration()),
            "PULSAR_LOG_DIR": str(logs),
            "PULSAR_PID_DIR": str(logs),
        }

    def is_ready(self) -> bool:
        # The health check writes and reads a message through the broker. The namespace must be there too.
        admin = f"http://127.0.0.1:{self.ports[self.ports_needed[1]]}/admin/v2"
        token = self._operator_token()
        return (
            get(f"{admin}/brokers/health", token) == "ok"
            and get(f"{admin}/namespaces/public/default", token) is not None
        )

    def _operator_token(self) -> str | None:
        return None


class PulsarSecure(Pulsar):
    """A second broker, with tokens, rights and TLS: for tests of what it refuses."""

    name = "pulsar-secure"
    ports_needed = (
        "pulsar_secure", "pulsar_secure_admin", "pulsar_secure_zookeeper", "pulsar_secure_bookie", "pulsar_secure_tls",
        "pulsar_secure_admin_tls",
    )  # fmt: skip
    is_optional = True

    def _more_settings(self) -> dict[str, str]:
        make_certificates(self.folder)
        key = self.folder / "token.key"
        key.touch(mode=0o600)
        key.write_bytes(bytes.fromhex(self.secrets["token_key"]))
        return {
            "brokerServicePortTls": str(self.ports["pulsar_secure_tls"]),
            "webServicePortTls": str(self.ports["pulsar_secure_admin_tls"]),
            "tlsCertificateFilePath": str(self.folder / "server.pem"),
            "tlsKeyFilePath": str(self.folder / "server.key"),
            "tlsTrustCertsFilePath": str(self.folder / "ca.pem"),
            "authenticationEnabled": "true",
            "authenticationProviders": "org.apache.pulsar.broker.authentication.AuthenticationProviderToken",
            "tokenSecretKey": f"file://{key}",
            "authorizationEnabled": "true",
            "superUserRoles": OPERATOR,
            "brokerClientAuthenticationPlugin": "org.apache.pulsar.client.impl.auth.AuthenticationToken",
            "brokerClientAuthenticationParameters": f"token:{self._operator_token()}",
        }

    def _operator_token(self) -> str:
        return make_token(self.secrets["token_key"], OPERATOR)


class Minio(Server):
    name = "minio"
    ports_needed = ("minio",)

    def _endpoint(self) -> str:
        return f"127.0.0.1:{self.ports['minio']}"

    def command(self) -> list:
        return [self.cache.minio / "minio", "server", self.folder / "data", "--address", self._endpoint()]

    def environment(self) -> dict[str, str]:
        user, password = self.secrets["s3_access_key"], self.secrets["s3_secret_key"]
        return super().environment() | {"MINIO_ROOT_USER": user, "MINIO_ROOT_PASSWORD": password}

    def is_ready(self) -> bool:
        return get(f"http://{self._endpoint()}/minio/health/ready") is not None

    def is_set_up(self) -> bool:
        # 409: it is ours already. 503 comes for a moment after the server says that it is ready.
        return signed(self.ports, self.secrets, "PUT", f"/{BUCKET}")[0] in (200, 409)


def signed(
    ports: dict[str, int],
    secrets: dict[str, str],
    method: str,
    path: str,
    query: str = "",
    body: str = "",
    service: str = "s3",
) -> tuple[int, str]:
    """Status and body of one request to MinIO, signed as AWS Signature Version 4 says."""
    endpoint = f"127.0.0.1:{ports['minio']}"
    now = datetime.datetime.now(datetime.UTC)
    stamp, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
    digest = hashlib.sha256(body.encode()).hexdigest()
    headers = {"host": endpoint, "x-amz-content-sha256": digest, "x-amz-date": stamp}
    names = ";".join(headers)
    canonical = "\n".join([method, path, query, *(f"{k}:{v}" for k, v in headers.items()), "", names, digest])
    scope = f"{day}/{REGION}/{service}/aws4_request"
    to_sign = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = ("AWS4" + secrets["s3_secret_key"]).encode()
    for part in (day, REGION, service, "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    signature = hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
    credential = f"{secrets['s3_access_key']}/{scope}"
    headers["authorization"] = f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={names}, Signature={signature}"
    del headers["host"]
    url = f"http://{endpoint}{path}{'?' if query else ''}{query}"
    request = urllib.request.Request(url, method=method, headers=headers, data=body.encode() or None)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read().decode(errors="replace")
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(errors="replace")


def read_only_keys(ports: dict[str, int], secrets: dict[str, str]) -> tuple[int, str]:
    """Keys of MinIO's for an hour, which may read and list and nothing else (AssumeRole with a policy of its own)."""
    actions = ["s3:GetObject", "s3:ListBucket", "s3:GetBucketLocation"]
    statement = {"Effect": "Allow", "Action": actions, "Resource": ["arn:aws:s3:::*"]}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    fields = {"Action": "AssumeRole", "Version": "2011-06-15", "DurationSeconds": "3600", "Policy": policy}
    return signed(ports, secrets, "POST", "/", body=urllib.parse.urlencode(fields), service="sts")


class MinioOther(Minio):
    """A second store with the same keys and without a bucket, whose data folder a test can put on a small disk."""

    name = "minio-other"
    ports_needed = ("minio_other",)
    is_optional = True

    def _endpoint(self) -> str:
        return f"127.0.0.1:{self.ports['minio_other']}"

    def environment(self) -> dict[str, str]:
        user, password = self.secrets["s3_access_key"], self.secrets["s3_secret_key"]
        return self._inherited("minio") | {"MINIO_ROOT_USER": user, "MINIO_ROOT_PASSWORD": password}

    def is_set_up(self) -> bool:
        return True


class Catalog(Server):
    """Apache's own REST catalog over a SQLite file: listens on every address, since it can't be told otherwise."""

    name = "catalog"
    ports_needed = ("catalog",)

    def command(self) -> list:
        java = (
            Path(os.environ["JAVA_HOME"], "bin/java") if os.environ.get("JAVA_HOME") else shutil.which("java") or "java"
        )
        return [java, "-cp", f"{self.cache.catalog}/*", "org.apache.iceberg.rest.RESTCatalogServer"]

    def environment(self) -> dict[str, str]:
        return super().environment() | {
            "CATALOG_REST_PORT": str(self.ports["catalog"]),
            "CATALOG_URI": f"jdbc:sqlite:{self.folder / 'catalog.db'}",
            "CATALOG_S3_ENDPOINT": f"http://127.0.0.1:{self.ports['minio']}",
            "AWS_ACCESS_KEY_ID": self.secrets["s3_access_key"],
            "AWS_SECRET_ACCESS_KEY": self.secrets["s3_secret_key"],
        }

    def is_ready(self) -> bool:
        return get(f"http://127.0.0.1:{self.ports['catalog']}/v1/config") is not None


class Keycloak(Server):
    """An identity provider: OAuth2 client credentials, tokens of 60 s."""

    name = "keycloak"
    ports_needed = ("keycloak",)
    packages = ("keycloak",)
    is_optional = True
    ready_seconds = 400.0

    def _home(self) -> Path:
        """Keycloak's own folders from the cache, data and the realm to import of this stack."""
        for part in ("bin", "lib", "conf", "providers", "themes", "version.txt"):
            if not (self.folder / part).is_symlink():
                (self.folder / part).symlink_to(self.cache.keycloak / part)
        realm = self.folder / "data/import/rva-realm.json"
        realm.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(HERE / "keycloak/rva-realm.json", realm)
        return self.folder

    def command(self) -> list:
        home = self._home()
        threads = "io.quarkus.bootstrap.forkjoin.QuarkusForkJoinWorkerThreadFactory"
        return [
            find_java(self.cache, 17, 99, "Keycloak"), f"-Djava.util.concurrent.ForkJoinPool.common.threadFactory={threads}",
            f"-Dkc.home.dir={home}", f"-Djboss.server.config.dir={home / 'conf'}", f"-Dkeycloak.theme.dir={home / 'themes'}",
            "-cp", home / "lib/quarkus-run.jar", "io.quarkus.bootstrap.runner.QuarkusEntryPoint",
            "start", "--optimized", "--import-realm", "--http-host=127.0.0.1", f"--http-port={self.ports['keycloak']}",
        ]  # fmt: skip

    def environment(self) -> dict[str, str]:
        return super().environment() | {
            "RVA_CLIENT_SECRET": self.secrets["client_secret"],
            "KC_BOOTSTRAP_ADMIN_USERNAME": OPERATOR,
            "KC_BOOTSTRAP_ADMIN_PASSWORD": self.secrets["client_secret"],
        }

    def is_ready(self) -> bool:
        return get(f"{realm_url(self.ports)}/.well-known/openid-configuration") is not None


class Nessie(Server):
    """A second persistent REST catalog; it vends keys of MinIO where a client asks for them."""

    name = "nessie"
    ports_needed = ("nessie", "nessie_management")
    packages = ("nessie",)
    is_optional = True
    ready_seconds = 300.0

    def command(self) -> list:
        endpoint = f"http://127.0.0.1:{self.ports['minio']}"
        port, management = (self.ports[name] for name in self.ports_needed)
        store = "nessie.catalog.service.s3.default-options"
        settings = {
            "quarkus.http.host": "127.0.0.1",
            "quarkus.http.port": port,
            "quarkus.management.host": "127.0.0.1",
            "quarkus.management.port": management,
            "nessie.version.store.persist.rocks.database-path": self.folder / "versions",
            "nessie.catalog.warehouses.lakehouse.location": f"s3://{BUCKET}/{self.name}",
            f"{store}.endpoint": endpoint,
            f"{store}.path-style-access": "true",
            f"{store}.region": REGION,
            f"{store}.access-key": "urn:nessie-secret:quarkus:rva.s3",
            # MinIO's security token service; it wants some role, and takes any.
            f"{store}.sts-endpoint": endpoint,
            f"{store}.client-iam.enabled": "true",
            f"{store}.client-iam.assume-role": "arn:aws:iam::000000000000:role/rva",
            f"{store}.client-iam.session-duration": "PT15M",
        } | self._more_settings()
        options = [f"-D{key}={value}" for key, value in settings.items()]
        return [find_java(self.cache, 21, 99, "Nessie"), *options, "-jar", self.cache.nessie / "nessie.jar"]

    def _more_settings(self) -> dict[str, str]:
        return {}

    def environment(self) -> dict[str, str]:
        # In the environment, not in the arguments, which every user of the machine can read.
        keys = {"RVA_S3_NAME": self.secrets["s3_access_key"], "RVA_S3_SECRET": self.secrets["s3_secret_key"]}
        return self._inherited("nessie") | keys

    def is_ready(self) -> bool:
        # Not its own word for ready: that wants the store, which a test may have killed.
        return get(f"http://127.0.0.1:{self.ports[self.ports_needed[1]]}/q/health/live") is not None


class NessieSecure(Nessie):
    """Nessie that wants a token of Keycloak's."""

    name = "nessie-secure"
    ports_needed = ("nessie_secure", "nessie_secure_management")
    needs = ("keycloak",)

    def _more_settings(self) -> dict[str, str]:
        return {
            "nessie.server.authentication.enabled": "true",
            "quarkus.oidc.auth-server-url": realm_url(self.ports),
            "quarkus.oidc.client-id": "rva-nessie",
            "quarkus.oidc.token.issuer": realm_url(self.ports),
        }


SERVERS = (Pulsar, Minio, Catalog, PulsarSecure, Keycloak, Nessie, NessieSecure, MinioOther)
OPERATOR = "rva-operator"


def realm_url(ports: dict[str, int]) -> str:
    return f"http://127.0.0.1:{ports['keycloak']}/realms/rva"


def make_token(key: str, role: str) -> str:
    """A JSON web token (RFC 7519) with HMAC-SHA256, as `pulsar tokens create` makes it. `key` in hexadecimal digits."""
    encode = lambda data: base64.urlsafe_b64encode(data).rstrip(b"=")
    head = b".".join(encode(json.dumps(part).encode()) for part in ({"alg": "HS256"}, {"sub": role}))
    return (head + b"." + encode(hmac.new(bytes.fromhex(key), head, hashlib.sha256).digest())).decode()


def make_certificates(folder: Path) -> None:
    """An authority (ca.pem), a server's certificate of it, and an authority that signed nothing (other-ca.pem)."""
    if (folder / "server.pem").exists():
        return

    def openssl(*arguments: object) -> None:
        subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)

    for name in ("ca", "other-ca"):
        openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", 3650, "-subj", f"/CN=rva stack {name}",
                "-keyout", folder / f"{name}.key", "-out", folder / f"{name}.pem")  # fmt: skip
    openssl("req", "-new", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost",
            "-keyout", folder / "server.key", "-out", folder / "server.csr")  # fmt: skip
    extensions = folder / "server.ext"
    extensions.write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\nbasicConstraints=CA:FALSE\n")
    openssl("x509", "-req", "-in", folder / "server.csr", "-CA", folder / "ca.pem", "-CAkey", folder / "ca.key",
            "-CAcreateserial", "-days", 3650, "-extfile", extensions, "-out", folder / "server.pem")  # fmt: skip


def client_environment(folder: Path, ports: dict[str, int], secrets: dict[str, str]) -> dict[str, str]:
    """The names that our programs read (docs: the data contract's environment)."""
    secure = {}
    if "pulsar_secure" in ports:
        tokens = folder / PulsarSecure.name
        secure = {
            "PULSAR_SECURE_PLAIN_SERVICE_URL": f"pulsar://127.0.0.1:{ports['pulsar_secure']}",
            "PULSAR_SECURE_PLAIN_ADMIN_URL": f"http://127.0.0.1:{ports['pulsar_secure_admin']}",
            "PULSAR_SECURE_SERVICE_URL": f"pulsar+ssl://127.0.0.1:{ports['pulsar_secure_tls']}",
            "PULSAR_SECURE_ADMIN_URL": f"https://127.0.0.1:{ports['pulsar_secure_admin_tls']}",
            "PULSAR_SECURE_CA_FILE": str(tokens / "ca.pem"),
            "PULSAR_SECURE_OTHER_CA_FILE": str(tokens / "other-ca.pem"),
            "PULSAR_SECURE_OPERATOR_TOKEN": make_token(secrets["token_key"], OPERATOR),
            "PULSAR_SECURE_INGEST_TOKEN": make_token(secrets["token_key"], "rva-ingest"),
            "PULSAR_SECURE_NOBODY_TOKEN": make_token(secrets["token_key"], "nobody"),
            "PULSAR_SECURE_FORGED_TOKEN": make_token("00" * 32, OPERATOR),
        }
    if "minio_other" in ports:
        secure["S3_OTHER_ENDPOINT"] = f"http://127.0.0.1:{ports['minio_other']}"
    if "nessie" in ports:
        secure["NESSIE_CATALOG_URI"] = f"http://127.0.0.1:{ports['nessie']}/iceberg"
    if "nessie_secure" in ports:
        secure |= {
            "NESSIE_SECURE_CATALOG_URI": f"http://127.0.0.1:{ports['nessie_secure']}/iceberg",
            "NESSIE_SECURE_OAUTH2_URI": f"{realm_url(ports)}/protocol/openid-connect/token",
            "NESSIE_SECURE_CREDENTIAL": f"rva-ingest:{secrets['client_secret']}",
            "KEYCLOAK_ADMIN_URL": f"http://127.0.0.1:{ports['keycloak']}/admin/realms/rva",
            "KEYCLOAK_ADMIN_USER": OPERATOR,
            "KEYCLOAK_ADMIN_PASSWORD": secrets["client_secret"],
        }
    engines = {}
    if "trino" in ports:
        engines["TRINO_URL"] = f"http://127.0.0.1:{ports['trino']}"
    for name in ("prometheus", "alertmanager"):
        if name in ports:
            engines[f"{name.upper()}_URL"] = f"http://127.0.0.1:{ports[name]}"
    if "flink" in ports:
        engines["FLINK_REST_URL"] = f"http://127.0.0.1:{ports['flink']}"
    return (
        secure
        | engines
        | {
            "PULSAR_SERVICE_URL": f"pulsar://127.0.0.1:{ports['pulsar']}",
            "PULSAR_ADMIN_URL": f"http://127.0.0.1:{ports['pulsar_admin']}",
            "ICEBERG_CATALOG_URI": f"http://127.0.0.1:{ports['catalog']}",
            "ICEBERG_WAREHOUSE": f"s3://{BUCKET}/",
            "S3_ENDPOINT": f"http://127.0.0.1:{ports['minio']}",
            "S3_REGION": REGION,
            "S3_PATH_STYLE": "true",
            "S3_ACCESS_KEY": secrets["s3_access_key"],
            "S3_SECRET_KEY": secrets["s3_secret_key"],
        }
    )
