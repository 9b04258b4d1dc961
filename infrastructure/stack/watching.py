"""Who watches the services: Prometheus and Alertmanager with the configuration of infrastructure/prometheus, started only by name.

What is watched is told by files of the state folder, which Prometheus reads again when they change: `prometheus/targets/ingest.json`
holds `[{"targets": ["127.0.0.1:PORT"]}]`, and so for detector and refine; the URL of a webhook is `alertmanager/webhook-url`.
"""

import json
import re

from servers import HERE, Server, get, read_settings

CONFIGURATION = HERE.parent / "prometheus"
SERVICES = ("detector", "ingest", "refine")


class Alertmanager(Server):
    name = "alertmanager"
    ports_needed = ("alertmanager",)
    packages = ("prometheus",)
    is_optional = True

    def command(self) -> list:
        if not (self.folder / "templates").is_symlink():
            (self.folder / "templates").symlink_to(self.cache.prometheus / "templates")
        return [
            "sh", CONFIGURATION / "alertmanager.sh", self.folder / "webhook-url", self.folder / "alertmanager.yml",
            self.cache.prometheus / "prometheus-alertmanager", f"--storage.path={self.folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.ports['alertmanager']}", "--cluster.listen-address=",
        ]  # fmt: skip

    def is_ready(self) -> bool:
        return get(f"http://127.0.0.1:{self.ports['alertmanager']}/-/ready") is not None


class Prometheus(Server):
    """`own.env` of its folder may say `interval`, how often it asks and judges."""

    name = "prometheus"
    ports_needed = ("prometheus",)
    packages = ("prometheus",)
    needs = ("alertmanager",)
    is_optional = True

    def command(self) -> list:
        targets = self.folder / "targets"
        targets.mkdir(exist_ok=True)
        for service in SERVICES:
            if not (targets / f"{service}.json").exists():
                (targets / f"{service}.json").write_text(json.dumps([]))
        text = (CONFIGURATION / "prometheus.yml").read_text()
        changes = (
            (r'static_configs: \[\{ targets: \["(\w+):8080"\] \}\]', r"file_sd_configs: [{ files: [targets/\1.json] }]", len(SERVICES)),
            (r"alertmanager:9093", f"127.0.0.1:{self.ports['alertmanager']}", 1),
            (r"\[rules\.yml\]", f"[{CONFIGURATION / 'rules.yml'}]", 1),
        )  # fmt: skip
        if interval := read_settings(self.folder / "own.env").get("interval"):
            changes += ((r"(scrape|evaluation)_interval: .+", rf"\1_interval: {interval}", 2),)
        for pattern, replacement, wanted in changes:
            text, found = re.subn(pattern, replacement, text)
            if found != wanted:
                raise RuntimeError(f"prometheus.yml: found {pattern} {found} times, wanted {wanted}")
        (self.folder / "prometheus.yml").write_text(text)
        return [
            self.cache.prometheus / "prometheus", f"--config.file={self.folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={self.folder / 'data'}", f"--web.listen-address=127.0.0.1:{self.ports['prometheus']}",
        ]  # fmt: skip

    def is_ready(self) -> bool:
        return get(f"http://127.0.0.1:{self.ports['prometheus']}/-/ready") is not None
