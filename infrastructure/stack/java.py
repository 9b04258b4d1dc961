"""Which Java runs a server: one that the machine has, else one from PyPI."""

import os
import re
import shutil
import subprocess
from pathlib import Path


class JavaError(Exception):
    """No Java fits; the text says which were found and what is wanted."""


def java_version(java: Path) -> int:
    """The feature version that a `java` says it has; 0 where it doesn't start."""
    try:
        said = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    except OSError:
        return 0
    found = re.search(r'version "(\d+)', said)
    return int(found.group(1)) if found else 0


def installed() -> dict[Path, int]:
    """The machine's own with their versions: JAVA_HOME's, the one on PATH, and where distributions put others."""
    homes = [Path(os.environ["JAVA_HOME"])] if os.environ.get("JAVA_HOME") else []
    if on_path := shutil.which("java"):
        homes.append(Path(on_path).resolve().parents[1])
    for place in ("/usr/lib/jvm", "/opt/java", "/Library/Java/JavaVirtualMachines"):
        homes += sorted(Path(place).glob("*"))
    return {home / "bin/java": java_version(home / "bin/java") for home in homes if (home / "bin/java").exists()}


def find_java(cache, oldest: int, newest: int, wanted_by: str) -> Path:
    """A Java between two versions: an installed one, else the cache's, which is fetched once."""
    found = installed()
    for java, version in found.items():
        if oldest <= version <= newest:
            return java
    if oldest <= cache.java_version <= newest:
        cache.fetch(("java",))
        return cache.java / "bin/java"
    listed = ", ".join(f"{java} ({version})" for java, version in found.items()) or "none"
    raise JavaError(f"found Java {listed}, wanted {oldest} to {newest} for {wanted_by}: set JAVA_HOME")
