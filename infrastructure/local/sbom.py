"""Writes what the programs and the servers around them are made of, as CycloneDX 1.6 (JSON) that its schema accepts.

usage: sbom.py FILE

| what | read from | scope |
| --- | --- | --- |
| crates of our programs, with Pulsar and camera motion, for every platform | cargo metadata, Cargo.lock | required |
| system packages that the build installs | infrastructure/local/setup.sh | required |
| scripts in the page of a report | crates/rva-report/assets | required |
| the ONNX Runtime library | its list of requirements | required |
| Python packages of tests, benchmarks and training | every requirements*.txt | excluded |
| Go modules of MinIO and mc | infrastructure/stack/go | optional |
| archives and jars of the native stack | infrastructure/stack/fetch.py, */sha256sums | optional |
| images | docker-compose.yml | optional |

Reproducible: the same tree gives the same bytes. Nothing is fetched but crates that cargo lacks.
"""

import json
import re
import subprocess
import sys
import tomllib
import uuid
from pathlib import Path

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentScope, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = ("rva", "rva-ingest", "rva-detector", "rva-refine")
FEATURES = "rva/pulsar,rva/camera-motion,rva-ingest/pulsar,rva-detector/pulsar"
STACK = ROOT / "infrastructure/stack"

sys.path.insert(0, str(STACK))
import fetch  # noqa: E402 (it lies there)


def component(kind: str, name: str, version: str | None, scope: ComponentScope, **more: str | None) -> Component:
    """A component whose reference is its package URL; `more`: namespace, sha256, licence, where it was read."""
    namespace, sha256, licence, where = (more.get(key) for key in ("namespace", "sha256", "licence", "where"))
    url = PackageURL(kind, namespace, name, version)
    hashes = [HashType(alg=HashAlgorithm.SHA_256, content=sha256)] if sha256 else []
    # Old crates write MIT/Apache-2.0.
    licences = [LicenseFactory().make_from_string(licence.replace("/", " OR "))] if licence else []
    properties = [Property(name="rva:from", value=where)] if where else []
    return Component(
        name=name,
        version=version,
        group=namespace,
        type=ComponentType.LIBRARY,
        bom_ref=str(url),
        purl=url,
        scope=scope,
        hashes=hashes,
        licenses=licences,
        properties=properties,
    )


def built() -> set[tuple[str, str]]:
    """Name and version of each crate in a build. Cargo's metadata alone also name what Cargo.lock has for features that
    nothing enables."""
    programs = [word for program in PROGRAMS for word in ("-p", program)]
    options = ["--features", FEATURES, "--target", "all", "--edges", "normal,build"]
    command = ["cargo", "tree", "--locked", *programs, *options, "--prefix", "none", "--format", "{p}"]
    lines = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    return {(name, version.removeprefix("v")) for name, version, *_ in (line.split() for line in lines if line)}


def crates(bom: Bom) -> None:
    """The crates that are linked into the programs or run while they are built."""
    command = ["cargo", "metadata", "--format-version", "1", "--locked", "--features", FEATURES]
    metadata = json.loads(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout)
    lock = tomllib.loads((ROOT / "Cargo.lock").read_text())
    sums = {(package["name"], package["version"]): package.get("checksum") for package in lock["package"]}
    in_build = built()
    packages = {
        package["id"]: package for package in metadata["packages"] if (package["name"], package["version"]) in in_build
    }
    needs = {
        node["id"]: [
            dep["pkg"]
            for dep in node["deps"]
            if dep["pkg"] in packages and any(kind["kind"] != "dev" for kind in dep["dep_kinds"])
        ]
        for node in metadata["resolve"]["nodes"]
    }
    todo = [identity for identity, package in packages.items() if package["name"] in PROGRAMS and not package["source"]]
    made: dict[str, Component] = {}
    while todo:
        identity = todo.pop()
        if identity not in made:
            package = packages[identity]
            name, version = package["name"], package["version"]
            facts = {"sha256": sums.get((name, version)), "licence": package["license"]}
            made[identity] = component("cargo", name, version, ComponentScope.REQUIRED, **facts)
            todo += needs[identity]
    for one in made.values():
        bom.components.add(one)
    for identity, one in made.items():
        bom.register_dependency(one, [made[need] for need in needs[identity]])
    bom.register_dependency(bom.metadata.component, [one for one in made.values() if one.name in PROGRAMS])


def system_packages(bom: Bom) -> None:
    text = (ROOT / "infrastructure/local/setup.sh").read_text()
    listed = re.search(r"<<'LIST'\n(.*?)\nLIST", text, re.DOTALL)[1]
    facts = {"namespace": "debian", "where": "infrastructure/local/setup.sh"}
    for name in listed.split():
        bom.components.add(component("deb", name, None, ComponentScope.REQUIRED, **facts))


def page_scripts(bom: Bom) -> None:
    """What the page of a report has in it, as npm has it; the name of a file says the version."""
    where = "crates/rva-report/assets/sha256sums"
    for line in (ROOT / where).read_text().splitlines():
        sha256, file = line.split()
        name, version = file.removesuffix(".min.js").rsplit("-", 1)
        facts = {"sha256": sha256, "licence": "MIT", "where": where}
        bom.components.add(component("npm", name, version, ComponentScope.REQUIRED, **facts))


def python_packages(bom: Bom) -> None:
    """Each package once, in however many lists it stands; the library that is loaded at run time is required."""
    found: dict[tuple[str, str], set[str]] = {}
    pin = r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^\s;\\]+)"
    for path in sorted(ROOT.glob("**/requirements*.txt")):
        where = path.relative_to(ROOT)
        if where.parts[0] in ("infrastructure", "tests", "data") and "cache" not in where.parts:
            for name, version in re.findall(pin, path.read_text(), re.MULTILINE):
                found.setdefault((re.sub(r"[-_.]+", "-", name).lower(), version), set()).add(str(where))
    archives = ("==".join(sdist[:2]) for sdist in (fetch.FLINK_SDIST, fetch.SPARK_SDIST))
    for requirement in (fetch.JAVA_WHEEL, fetch.GO_WHEEL, *archives):
        name, version = re.match(r"([\w.-]+)==([\w.]+)", requirement).groups()
        found.setdefault((name, version), set()).add("infrastructure/stack/fetch.py")
    for (name, version), places in found.items():
        is_loaded = "infrastructure/local/requirements-onnxruntime.txt" in places
        is_server = "infrastructure/stack/fetch.py" in places
        otherwise = ComponentScope.OPTIONAL if is_server else ComponentScope.EXCLUDED
        scope = ComponentScope.REQUIRED if is_loaded else otherwise
        bom.components.add(component("pypi", name, version, scope, where=", ".join(sorted(places))))


def go_modules(bom: Bom) -> None:
    found: dict[tuple[str, str], set[str]] = {
        (fetch.MINIO_MODULE, fetch.MINIO_VERSION): {"infrastructure/stack/fetch.py"},
        (fetch.MC_MODULE, fetch.MC_VERSION): {"infrastructure/stack/fetch.py"},
    }
    for path in sorted((STACK / "go").glob("*.mod")):
        for module, version in re.findall(r"^(?:require)?\s+(\S+\.\S+)\s+(v\S+)", path.read_text(), re.MULTILINE):
            found.setdefault((module, version), set()).add(str(path.relative_to(ROOT)))
    for (module, version), places in found.items():
        namespace, _, name = module.rpartition("/")
        facts = {"namespace": namespace, "where": ", ".join(sorted(places))}
        bom.components.add(component("golang", name, version, ComponentScope.OPTIONAL, **facts))


def maven_artifacts(bom: Bom) -> None:
    for group, name, version, checksum in (
        ("org.apache.pulsar", "pulsar-server-distribution", fetch.PULSAR_VERSION, fetch.PULSAR_SHA256),
        ("io.trino", "trino-server", fetch.TRINO_VERSION, fetch.TRINO_SHA256),
        ("org.projectnessie.nessie", "nessie-quarkus", fetch.NESSIE_VERSION, fetch.NESSIE_SHA256),
        ("org.keycloak", "keycloak-quarkus-dist", fetch.KEYCLOAK_VERSION, fetch.KEYCLOAK_SHA256),
    ):
        facts = {"namespace": group, "sha256": checksum, "where": "infrastructure/stack/fetch.py"}
        bom.components.add(component("maven", name, version, ComponentScope.OPTIONAL, **facts))
    jars: dict[tuple[str, str], set[str]] = {}
    for path in sorted(STACK.glob("*/sha256sums")):
        for line in path.read_text().splitlines():
            checksum, jar = line.split()
            jars.setdefault((jar, checksum), set()).add(str(path.relative_to(ROOT)))
    for (jar, checksum), places in jars.items():
        name, version = re.fullmatch(r"(.+?)-(\d[^-]*(?:-.+)?)\.jar", jar).groups()
        facts = {"sha256": checksum, "where": ", ".join(sorted(places))}
        bom.components.add(component("generic", name, version, ComponentScope.OPTIONAL, **facts))


def images(bom: Bom) -> None:
    where = "docker-compose.yml"
    image = r"^\s+image: ([\w./-]+):([\w.-]+)(?:@sha256:(\w+))?"
    for name, tag, digest in sorted(set(re.findall(image, (ROOT / where).read_text(), re.MULTILINE))):
        namespace, _, short = name.rpartition("/")
        facts = {"namespace": namespace or None, "sha256": digest or None, "where": where}
        bom.components.add(component("docker", short, tag, ComponentScope.OPTIONAL, **facts))


def main(target: str) -> None:
    bom = Bom()
    # No moment and no chance: the same tree gives the same file.
    lock = (ROOT / "Cargo.lock").read_text()
    version = re.search(r'^version = "(.*)"', (ROOT / "Cargo.toml").read_text(), re.MULTILINE)[1]
    bom.serial_number = uuid.uuid5(uuid.NAMESPACE_URL, lock)
    bom.metadata.component = Component(name="rva", version=version, type=ComponentType.APPLICATION, bom_ref="rva")
    for part in (crates, system_packages, page_scripts, python_packages, go_modules, maven_artifacts, images):
        part(bom)
    document = json.loads(JsonV1Dot6(bom).output_as_string())
    document["metadata"].pop("timestamp", None)
    text = json.dumps(document, indent=1, sort_keys=True) + "\n"
    if wrong := JsonStrictValidator(SchemaVersion.V1_6).validate_str(text):
        sys.exit(f"sbom: found a document that the schema of CycloneDX 1.6 refuses: {wrong}")
    Path(target).write_text(text)
    counts: dict[str, int] = {}
    for one in bom.components:
        counts[one.purl.type] = counts.get(one.purl.type, 0) + 1
    shown = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))
    print(f"sbom: {target}: {len(bom.components)} components: {shown}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__.split("\n\n")[1])
    main(sys.argv[1])
