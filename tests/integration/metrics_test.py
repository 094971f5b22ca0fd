"""What monitoring sees: judged by Prometheus' own tools, not by ours."""
import json
import re
import socket
import subprocess
import urllib.error
import urllib.request

import pytest

from fleet import SOURCE, Fleet, Process, wait_until


@pytest.fixture(scope="module")
def fleet():
    with Fleet() as fleet:
        yield fleet


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_promtool_finds_nothing_to_say(fleet):
    host = fleet.add_host("robot-metrics")
    host.write("data/a", "x" * 100_000)
    fleet.wait()
    text = fleet.get("/metrics")
    assert 'holdfast_source_state{host="robot-metrics"' in text and 'source="data",class="config",state="watching"} 1' in text
    result = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True)
    assert result.returncode == 0 and not result.stderr, result.stderr


def test_the_page_names_each_metric_with_its_labels_and_no_other(fleet):
    page = (SOURCE / "collector/api/API.md").read_text().split("## Metrics")[1]
    told = {name: set(filter(None, labels.split(",")))
            for name, labels in re.findall(r"`(holdfast_\w+)(?:\{([\w,]+)\})?`", page)}
    shown = {}
    for line in fleet.get("/metrics").splitlines():
        if line.startswith("# TYPE "):
            family = line.split()[2]
            shown[family] = set()
        elif not line.startswith("#"):
            assert line.startswith(family), line
            shown[family] |= set(re.findall(r'(\w+)="', line))
    assert told == shown


def test_metrics_follow_what_happens(fleet):
    before = fleet.metrics()
    assert before['holdfast_hosts{state="online"}'] == 1
    assert before["holdfast_repository_writable"] == 1
    host = fleet.hosts[0]
    host.write("data/b", "y" * 1000)
    fleet.wait()
    after = fleet.metrics()
    assert after["holdfast_ingest_versions_total"] > before["holdfast_ingest_versions_total"]
    assert after["holdfast_ingest_commits_total"] > before["holdfast_ingest_commits_total"]
    host.stop()
    wait_until(lambda: fleet.metrics()['holdfast_hosts{state="online"}'] == 0, "the host to be seen offline")


def test_a_real_prometheus_scrapes_it(fleet, tmp_path):
    port = free_port()
    (tmp_path / "prometheus.yml").write_text(json.dumps({
        "scrape_configs": [{
            "job_name": "holdfast", "scheme": "https", "scrape_interval": "1s",
            "tls_config": {"ca_file": str(fleet.collector.directory / "ca/root.pem"), "server_name": "localhost"},
            "static_configs": [{"targets": [f"127.0.0.1:{fleet.collector.ports['api']}"]}]}]}))
    prometheus = Process(["prometheus", f"--config.file={tmp_path}/prometheus.yml",
                          f"--storage.tsdb.path={tmp_path}/data", f"--web.listen-address=127.0.0.1:{port}"],
                         tmp_path / "log")

    def asked(query):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/query?query={query}") as answer:
                result = json.load(answer)["data"]["result"]
        except (urllib.error.URLError, ConnectionError):
            return None
        return result[0]["value"][1] if result else None

    prometheus.start()
    try:
        wait_until(lambda: asked("holdfast_up") == "1", "Prometheus to have scraped")
    finally:
        prometheus.kill()


def test_health_and_ready_say_so(fleet):
    assert json.loads(fleet.get("/health"))["status"] == "healthy"
    assert json.loads(fleet.get("/ready"))["ready"] is True
