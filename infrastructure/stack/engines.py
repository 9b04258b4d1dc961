"""Engines beside the stack that are started only by name: Flink and Trino as servers, Spark and Flink's SQL client as commands.

Their archives have no start scripts for a native stack (PyPI's Flink) or more than is wanted, so the JVMs are started here.
"""

import os
import re
import sys
from pathlib import Path

from java import find_java
from servers import BUCKET, HERE, REGION, Server, get

ICEBERG = "1.10.0"

# What Flink's configuration page wants of Java 17.
FLINK_OPENS = [
    *(f"--add-exports=jdk.compiler/com.sun.tools.javac.{name}=ALL-UNNAMED" for name in ("api", "file", "parser", "tree", "util")),
    "--add-exports=java.base/sun.net.util=ALL-UNNAMED",
    "--add-exports=java.rmi/sun.rmi.registry=ALL-UNNAMED",
    "--add-exports=java.security.jgss/sun.security.krb5=ALL-UNNAMED",
    *(
        f"--add-opens=java.base/{name}=ALL-UNNAMED"
        for name in (
            "java.lang", "java.net", "java.io", "java.nio", "sun.nio.ch", "java.lang.reflect", "java.text", "java.time",
            "java.util", "java.util.concurrent", "java.util.concurrent.atomic", "java.util.concurrent.locks",
        )
    ),
]  # fmt: skip


class EngineError(Exception):
    """An engine can't be started; the text says what is missing."""


class Flink(Server):
    """The JobManager; `start flink` starts the TaskManager too."""

    name = "flink"
    ports_needed = ("flink", "flink_rpc")
    is_optional = True
    packages = ("flink",)

    def _java(self, heap: str, direct: str) -> list:
        return [
            find_java(self.cache, 17, 17, "Flink 1.20"), *FLINK_OPENS, f"-Xms{heap}", f"-Xmx{heap}", f"-XX:MaxDirectMemorySize={direct}",
            "-XX:MaxMetaspaceSize=256m", "-XX:+UseG1GC",
            f"-Dlog4j.configurationFile={HERE / 'flink/log4j2.properties'}", "-cp", flink_classpath(self.cache),
        ]  # fmt: skip

    def _addresses(self) -> list:
        settings = {
            "jobmanager.rpc.address": "127.0.0.1",
            "jobmanager.rpc.port": self.ports["flink_rpc"],
            "rest.port": self.ports["flink"],
            "io.tmp.dirs": self.folder / "tmp",
            "execution.checkpointing.dir": f"file://{self.folder.parent / 'flink/checkpoints'}",
        }
        return [part for key, value in settings.items() for part in ("-D", f"{key}={value}")]

    def command(self) -> list:
        return [
            *self._java("448m", "128m"), "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint",
            "--configDir", HERE / "flink", "--executionMode", "cluster", *self._addresses(),
        ]  # fmt: skip

    def environment(self) -> dict[str, str]:
        (self.folder / "tmp").mkdir(exist_ok=True)
        keep = ("PATH", "HOME", "LANG", "JAVA_HOME", "TMPDIR")
        return {name: os.environ[name] for name in keep if name in os.environ}

    def is_ready(self) -> bool:
        return get(f"http://127.0.0.1:{self.ports['flink']}/overview") is not None


class FlinkTaskManager(Flink):
    """One worker of two slots of 2,496 MB, with room for RocksDB: with 64 MB for it the bronze job took twice the CPU time."""

    name = "flink-taskmanager"
    ports_needed = ()
    group = "flink"

    def command(self) -> list:
        memory = {
            "taskmanager.cpu.cores": "2.0",
            "taskmanager.memory.framework.heap.size": "128m",
            "taskmanager.memory.task.heap.size": "1024m",
            "taskmanager.memory.framework.off-heap.size": "128m",
            "taskmanager.memory.task.off-heap.size": "256m",
            "taskmanager.memory.network.min": "128m",
            "taskmanager.memory.network.max": "128m",
            "taskmanager.memory.managed.size": "384m",
            "taskmanager.memory.jvm-metaspace.size": "256m",
            "taskmanager.memory.jvm-overhead.min": "192m",
            "taskmanager.memory.jvm-overhead.max": "192m",
        }
        memory = [part for key, value in memory.items() for part in ("-D", f"{key}={value}")]
        return [
            *self._java("1152m", "512m"), "org.apache.flink.runtime.taskexecutor.TaskManagerRunner",
            "--configDir", HERE / "flink", *memory, *self._addresses(),
        ]  # fmt: skip

    def is_ready(self) -> bool:
        answer = get(f"http://127.0.0.1:{self.ports['flink']}/overview") or ""
        return '"taskmanagers":1' in answer


class Trino(Server):
    """A coordinator that works itself, with the catalog `lakehouse` and no other plug-in than Iceberg's."""

    name = "trino"
    ports_needed = ("trino",)
    is_optional = True
    packages = ("trino",)

    def command(self) -> list:
        etc = self.folder / "etc"
        (etc / "catalog").mkdir(parents=True, exist_ok=True)
        # The compose file's own catalog, with this stack's addresses.
        catalog = (HERE.parent / "trino/lakehouse.properties").read_text()
        catalog = catalog.replace("http://catalog:8181", f"http://127.0.0.1:{self.ports['catalog']}")
        catalog = catalog.replace("http://minio:9000", f"http://127.0.0.1:{self.ports['minio']}")
        # Tests write through this one.
        catalog = catalog.replace("iceberg.security=read_only", "iceberg.security=allow_all")
        (etc / "catalog/lakehouse.properties").write_text(catalog)
        config = {
            "coordinator": "true",
            "node-scheduler.include-coordinator": "true",
            "http-server.http.port": self.ports["trino"],
            "discovery.uri": f"http://127.0.0.1:{self.ports['trino']}",
            "query.max-memory-per-node": "256MB",
            "memory.heap-headroom-per-node": "128MB",
            "catalog.management": "static",
        }
        (etc / "config.properties").write_text("".join(f"{key}={value}\n" for key, value in config.items()))
        (etc / "node.properties").write_text(
            f"node.environment=stack\nnode.internal-address=127.0.0.1\nnode.data-dir={self.folder / 'data'}\n"
        )
        (etc / "jvm.config").write_text((HERE / "trino/jvm.config").read_text())
        return [self.cache.trino / "bin/launcher", "run", f"--etc-dir={etc}"]

    def environment(self) -> dict[str, str]:
        java = find_java(self.cache, 24, 99, "Trino 476")
        keep = ("HOME", "LANG", "TMPDIR")
        kept = {name: os.environ[name] for name in keep if name in os.environ}
        return kept | {
            "JAVA_HOME": str(java.parents[1]),
            "PATH": f"{java.parent}{os.pathsep}{os.environ.get('PATH', '')}",
            "AWS_ACCESS_KEY_ID": self.secrets["s3_access_key"],
            "AWS_SECRET_ACCESS_KEY": self.secrets["s3_secret_key"],
        }

    def is_ready(self) -> bool:
        return '"starting":false' in (get(f"http://127.0.0.1:{self.ports['trino']}/v1/info") or "")


def flink_classpath(cache, *more: str) -> str:
    catalog = [f"iceberg-aws-bundle-{ICEBERG}.jar", "hadoop-client-api-3.4.1.jar", "hadoop-client-runtime-3.4.1.jar"]
    places = [*sorted((cache.flink / "lib").glob("*.jar")), *sorted((cache.flink / "connectors").glob("*.jar"))]
    places += [cache.catalog / jar for jar in catalog] + [cache.flink / "opt" / jar for jar in more]
    return os.pathsep.join(map(str, places))


def flink_sql(cache, folder: Path, environment: dict[str, str], arguments: list[str]) -> tuple[list, dict]:
    """Flink's SQL client against the stack's JobManager: `flink-sql -f FILE`. `${NAME}` in FILE is the stack's value."""
    import json

    port = json.loads((folder / "state.json").read_text())["ports"].get("flink")
    if port is None:
        raise EngineError(f"found no Flink in {folder}, wanted one: stack.py start flink")
    if len(arguments) != 2 or arguments[0] != "-f":
        raise EngineError(f"found {arguments}, wanted -f FILE")
    values = dict(os.environ) | environment
    text = re.sub(
        r"\$\{(\w+)(?::-([^}]*))?\}", lambda m: value_of(values, m, arguments[1]), Path(arguments[1]).read_text()
    )
    work = folder / "flink-sql"
    work.mkdir(exist_ok=True)
    script = work / "script.sql"
    with open(script, "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:  # it holds keys
        file.write(text)
    (work / "config.yaml").write_text(
        (HERE / "flink/config.yaml").read_text()
        + f"rest.address: 127.0.0.1\nrest.port: {port}\nexecution.target: remote\n"
    )
    names = (
        f"flink-sql-client-{cache.flink.name.partition('-')[2]}.jar",
        f"flink-python-{cache.flink.name.partition('-')[2]}.jar",
    )
    command = [
        find_java(cache, 17, 17, "Flink 1.20"), *FLINK_OPENS, "-Xmx256m",
        f"-Dlog4j.configurationFile={HERE / 'flink/log4j2.properties'}", "-cp", flink_classpath(cache, *names),
        "org.apache.flink.table.client.SqlClient", "-f", script,
    ]  # fmt: skip
    return command, {**os.environ, "FLINK_CONF_DIR": str(work)}


def value_of(values: dict[str, str], match: re.Match, place: str) -> str:
    value = values.get(match.group(1), match.group(2))
    if value is None:
        raise EngineError(f"{place}: found no variable {match.group(1)}, wanted a value")
    return value


def spark(cache, folder: Path, environment: dict[str, str], program: str, arguments: list[str]) -> tuple[list, dict]:
    """`spark-sql` or `spark-submit` with the catalog `lakehouse`, on two cores of this machine."""
    settings = folder / "spark"
    settings.mkdir(exist_ok=True)
    conf = {
        "spark.master": "local[2]",
        "spark.ui.enabled": "false",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.shuffle.partitions": "2",
        "spark.jars": f"{cache.spark / 'connectors' / f'iceberg-spark-runtime-3.5_2.12-{ICEBERG}.jar'},"
        f"{cache.catalog / f'iceberg-aws-bundle-{ICEBERG}.jar'}",
        "spark.sql.extensions": "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions",
        "spark.sql.catalog.lakehouse": "org.apache.iceberg.spark.SparkCatalog",
        "spark.sql.catalog.lakehouse.type": "rest",
        "spark.sql.catalog.lakehouse.uri": environment["ICEBERG_CATALOG_URI"],
        "spark.sql.catalog.lakehouse.warehouse": f"s3://{BUCKET}/",
        "spark.sql.catalog.lakehouse.io-impl": "org.apache.iceberg.aws.s3.S3FileIO",
        "spark.sql.catalog.lakehouse.s3.endpoint": environment["S3_ENDPOINT"],
        "spark.sql.catalog.lakehouse.s3.path-style-access": "true",
        "spark.sql.defaultCatalog": "lakehouse",
    }
    (settings / "spark-defaults.conf").write_text("".join(f"{key} {value}\n" for key, value in conf.items()))
    (settings / "log4j2.properties").write_text(
        "rootLogger.level = warn\nrootLogger.appenderRef.stderr.ref = stderr\nappender.stderr.type = Console\n"
        "appender.stderr.name = stderr\nappender.stderr.target = SYSTEM_ERR\nappender.stderr.layout.type = PatternLayout\n"
        "appender.stderr.layout.pattern = %d{HH:mm:ss} %p %c{1}: %m%n%ex\n"
    )
    java = find_java(cache, 17, 17, "Spark 3.5")
    return [cache.spark / "bin" / program, *arguments], {
        **os.environ,
        "JAVA_HOME": str(java.parents[1]),
        "SPARK_HOME": str(cache.spark),
        "SPARK_CONF_DIR": str(settings),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "AWS_REGION": REGION,
        "AWS_ACCESS_KEY_ID": environment["S3_ACCESS_KEY"],
        "AWS_SECRET_ACCESS_KEY": environment["S3_SECRET_KEY"],
    }


# What `stack.py run` can run, and what must be fetched for it.
PROGRAMS = {"flink-sql": ("flink",), "spark-sql": ("spark",), "spark-submit": ("spark",), "trino": ()}


def program(name: str, cache, folder: Path, environment: dict[str, str], arguments: list[str]) -> tuple[list, dict]:
    """The command of a program and its environment."""
    if name == "flink-sql":
        return flink_sql(cache, folder, environment, arguments)
    if name == "trino":
        if "TRINO_URL" not in environment:
            raise EngineError(f"found no Trino in {folder}, wanted one: stack.py start trino")
        return [sys.executable, HERE / "trino_sql.py", environment["TRINO_URL"], *arguments], dict(os.environ)
    return spark(cache, folder, environment, name, arguments)
