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
import urllib.request
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
BUCKET = "warehouse"
REGION = "us-east-1"


def read_settings(name: str) -> dict[str, str]:
    lines = (HERE / f"{name}.env").read_text().splitlines()
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
    # Started together with the server of this name.
    group = None
    # What of the cache it needs beside what `up` fetches.
    needs = ()
    grace_seconds = 20.0
    ready_seconds = 180.0

    def environment(self) -> dict[str, str]:
        return self._inherited(self.name)

    def _inherited(self, settings: str) -> dict[str, str]:
        keep = ("PATH", "HOME", "LANG", "JAVA_HOME", "TMPDIR")
        return {name: os.environ[name] for name in keep if name in os.environ} | read_settings(settings)

    def is_set_up(self) -> bool:
        """Does what must be there before anybody uses the server, which answers; false where it is too early."""
        return True


class Pulsar(Server):
    """Standalone: broker and bookie in one process, metadata in RocksDB."""

    name = "pulsar"
    ports_needed = ("pulsar", "pulsar_admin")

    def _write_configuration(self) -> Path:
        prefix = "PULSAR_PREFIX_"
        wanted = {k.removeprefix(prefix): v for k, v in read_settings("pulsar").items() if k.startswith(prefix)}
        service, admin = self.ports_needed[:2]
        wanted |= {
            "brokerServicePort": str(self.ports[service]),
            "webServicePort": str(self.ports[admin]),
            "bindAddress": "127.0.0.1",
            "advertisedAddress": "127.0.0.1",
            # The bookie, on a port that it chooses.
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
        return [
            self.cache.pulsar / "bin/pulsar", "standalone", "--no-stream-storage", "--no-functions-worker",
            "--bookkeeper-dir", self.folder / "bookkeeper", "--metadata-dir", self.folder / "metadata",
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
        return get(f"{admin}/brokers/health", token) == "ok" and get(f"{admin}/namespaces/public/default", token) is not None

    def _operator_token(self) -> str | None:
        return None


class PulsarSecure(Pulsar):
    """A second broker, with tokens, rights and TLS: for tests of what it refuses."""

    name = "pulsar-secure"
    ports_needed = ("pulsar_secure", "pulsar_secure_admin", "pulsar_secure_tls", "pulsar_secure_admin_tls")
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
        return self._signed("PUT", f"/{BUCKET}") in (200, 409)

    def _signed(self, method: str, path: str) -> int:
        """One S3 request without a body, signed as AWS Signature Version 4 says."""
        now = datetime.datetime.now(datetime.timezone.utc)
        stamp, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
        empty = hashlib.sha256(b"").hexdigest()
        headers = {"host": self._endpoint(), "x-amz-content-sha256": empty, "x-amz-date": stamp}
        names = ";".join(headers)
        canonical = "\n".join([method, path, "", *(f"{k}:{v}" for k, v in headers.items()), "", names, empty])
        scope = f"{day}/{REGION}/s3/aws4_request"
        to_sign = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()])
        key = ("AWS4" + self.secrets["s3_secret_key"]).encode()
        for part in (day, REGION, "s3", "aws4_request"):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        signature = hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
        credential = f"{self.secrets['s3_access_key']}/{scope}"
        headers["authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={names}, Signature={signature}"
        )
        del headers["host"]
        request = urllib.request.Request(f"http://{self._endpoint()}{path}", method=method, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code


class Catalog(Server):
    """Apache's own REST catalog over a SQLite file: listens on every address, since it can't be told otherwise."""

    name = "catalog"
    ports_needed = ("catalog",)

    def command(self) -> list:
        java = Path(os.environ["JAVA_HOME"], "bin/java") if os.environ.get("JAVA_HOME") else shutil.which("java") or "java"
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


SERVERS = (Pulsar, Minio, Catalog, PulsarSecure)
OPERATOR = "rva-operator"


def make_token(key: str, role: str) -> str:
    """A JSON web token (RFC 7519) with HMAC-SHA256, as `pulsar tokens create` makes it. `key` in hexadecimal digits."""
    encode = lambda data: base64.urlsafe_b64encode(data).rstrip(b"=")  # noqa: E731
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
    engines = {}
    if "trino" in ports:
        engines["TRINO_URL"] = f"http://127.0.0.1:{ports['trino']}"
    if "flink" in ports:
        engines["FLINK_REST_URL"] = f"http://127.0.0.1:{ports['flink']}"
    return secure | engines | {
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
