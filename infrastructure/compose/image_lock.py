"""Writes the digest of each image beside its tag: make image-lock, on a machine that reaches a registry.

A tag may be moved to another image, a digest can't. Every image that docker-compose.yml and the Dockerfiles take from elsewhere is
asked for with Docker's own client (of all platforms: the digest of the index), and all are written or none. What stands there
already is asked for anew, so this is also how a tag's new state is taken. --list only shows what stands there.
"""

import re
import subprocess
import sys
from pathlib import Path

# Relative to the folder of the project, which is where it is called.
FILES = ("docker-compose.yml", "infrastructure/docker/Dockerfile", "infrastructure/docker/minio.Dockerfile")
# `image:` of a service or `FROM` of a stage, with a tag: other stages have none, and ours (rva-…) are built here.
IMAGE = re.compile(r"^(\s*image: |FROM )((?!rva-)[\w./-]+:[\w.-]+)(@sha256:[0-9a-f]{64})?(?=\s|$)", re.MULTILINE)


def digest_of(image: str) -> str:
    command = ["docker", "buildx", "imagetools", "inspect", "--format", "{{.Manifest.Digest}}", image]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    digest = done.stdout.strip()
    if done.returncode != 0 or not re.fullmatch(r"sha256:[0-9a-f]{64}", digest):
        said = (done.stderr or done.stdout).strip()[-300:]
        sys.exit(f"image-lock: {image}: found no digest ({said}), wanted a registry that has it; nothing was written")
    return digest


def main() -> None:
    texts = {Path(name): Path(name).read_text() for name in FILES}
    found = {match[2]: match[3] for text in texts.values() for match in IMAGE.finditer(text)}
    if "--list" in sys.argv[1:]:
        for image, digest in sorted(found.items()):
            print(f"{image} {digest or 'no digest'}")
        return
    digests = {image: digest_of(image) for image in sorted(found)}
    for path, text in texts.items():
        path.write_text(IMAGE.sub(lambda match: f"{match[1]}{match[2]}@{digests[match[2]]}", text))
    print(f"image-lock: wrote the digests of {len(digests)} images; look at the change, and commit it")


if __name__ == "__main__":
    main()
