"""The operator's command against real daemons: every command, for people and for programs."""
import contextlib
import datetime
import json
import os
import pty
import re
import select
import shutil
import sqlite3
import subprocess
import tarfile
import time

import pytest

from fleet import CLI, Fleet, now, run, wait_until

DONE, FAILED, USAGE, UNREACHABLE, DENIED, NOT_FOUND, TIMED_OUT = range(7)


@pytest.fixture(scope="module")
def fleet():
    """Two hosts; `ago` is a moment when robot-01's files were others."""
    with Fleet() as fleet:
        one = fleet.add_host("robot-01", labels=("site=berlin",))
        two = fleet.add_host("robot-02")
        one.write("data/settings.json", '{"step": 1}')
        one.write("data/deep/er/note.txt", "one\n")
        one.write("data/goes.txt", "soon\n")
        two.write("data/settings.json", '{"step": 2}')
        fleet.wait()
        time.sleep(0.02)
        fleet.ago = now()
        time.sleep(0.02)
        one.write("data/settings.json", '{"step": 100}')
        one.path("data/goes.txt").unlink()
        one.write("data/new.txt", "new\n")
        fleet.wait()
        yield fleet


def refused(fleet, status, *arguments, says=()):
    result = fleet.cli(*arguments, check=False)
    text = result.stdout + result.stderr
    assert result.returncode == status, f"{arguments}: {result.returncode}\n{text}"
    assert result.stderr.startswith("holdfast: ") or status == TIMED_OUT, text
    for part in (says,) if isinstance(says, str) else says:
        assert part in text, f"{part!r} is not in:\n{text}"
    return text


def columns(text):
    """A table's rows as lists; columns are two blanks or more apart."""
    return [re.split(r"\s{2,}", line.strip()) for line in text.strip().splitlines()]


ZONED = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)? [A-Z]{2,5}")


# --- looking ---

def test_status_shows_hosts_sources_and_the_repository(fleet):
    text = fleet.cli("status")
    assert re.search(r"^Hosts\s+2 online of 2", text, re.M) and "Stored" in text
    status = fleet.json("status")
    assert status["hosts"]["online"] == 2 and status["sources"]["total"] == 2
    assert status["repository"]["storage_ok"] is True


def test_hosts_are_listed_with_state_and_labels(fleet):
    rows = columns(fleet.cli("hosts"))
    assert rows[0][:3] == ["NAME", "ID", "STATE"]
    assert [row[0] for row in rows[1:]] == ["robot-01", "robot-02"]
    assert rows[1][2] == "online" and "site=berlin" in rows[1][-1]
    assert [h["name"] for h in fleet.json("hosts")["hosts"]] == ["robot-01", "robot-02"]


def test_a_host_is_shown_by_name_and_by_id_with_its_certificate(fleet):
    by_name = fleet.json("host", "show", "robot-01")
    by_id = fleet.json("host", "show", by_name["id"])
    assert by_id["name"] == "robot-01" and by_id["certificate"] == by_name["certificate"]
    assert [s["name"] for s in by_name["sources"]] == ["data"]
    text = fleet.cli("host", "show", "robot-01")
    assert text.startswith("Name ") and "Certificate ends" in text and ZONED.search(text)


def test_labels_are_set_and_removed(fleet):
    fleet.cli("host", "label", "robot-02", "rack=7", "site=rome")
    assert fleet.json("host", "show", "robot-02")["labels"]["rack"] == "7"
    fleet.cli("host", "label", "robot-02", "rack-")
    labels = fleet.json("host", "show", "robot-02")["labels"]
    assert "rack" not in labels and labels["site"] == "rome"
    refused(fleet, USAGE, "host", "label", "robot-02", "nonsense", says="KEY=VALUE")


def test_sources_say_up_to_when_they_are_protected(fleet):
    text = fleet.cli("sources")
    assert "robot-01:data" in text and "ago" in text
    assert fleet.cli("sources", "--host", "robot-02", "--names") == "data\n"
    assert len(fleet.json("sources")["sources"]) == 2


def test_ls_shows_one_level_or_everything_at_a_moment(fleet):
    one = fleet.hosts[0]
    here = one.target("data", "data")
    assert "new.txt" in fleet.cli("ls", here) and "goes.txt" not in fleet.cli("ls", here)
    before = fleet.cli("ls", here, "--at", fleet.ago)
    assert "goes.txt" in before and "new.txt" not in before and ZONED.search(before)
    assert "note.txt" not in before
    everything = fleet.json("ls", here, "--recursive")["entries"]
    assert any(e["path"].endswith("deep/er/note.txt") for e in everything)


def test_ls_of_a_source_begins_where_there_is_something_to_choose(fleet):
    rows = columns(fleet.cli("ls", "robot-01:data"))
    assert rows[1][-1] == f"{fleet.hosts[0].path('data')}/" and rows[1][0].startswith("drwx")
    assert len(fleet.json("ls", "robot-01:data")["entries"]) == 1  # the API's answer as it is
    lonely = fleet.cli("ls", "robot-01:data/" + str(fleet.hosts[0].root).strip("/").split("/")[0])
    assert columns(lonely) == rows


def test_options_of_every_command_may_come_before_it(fleet):
    assert json.loads(fleet.cli("--json", "status"))["hosts"] == fleet.json("status")["hosts"]
    url = fleet.collector.cli_env()["HOLDFAST_URL"]
    shown = json.loads(fleet.cli("--url", url, "--json", "host", "show", "robot-01"))
    assert shown["name"] == "robot-01"
    assert fleet.cli(f"--url={url}", "sources", "--host", "robot-02", "--names") == "data\n"
    assert "Exit status" in fleet.cli("--json", "status", "--help")
    refused(fleet, USAGE, "--json", says="command")
    refused(fleet, USAGE, "--url", url, says="command")
    refused(fleet, USAGE, "--json", "frobnicate", says="frobnicate")
    refused(fleet, USAGE, "--frob", "status", says="--frob")


def test_versions_are_listed_newest_first(fleet):
    target = fleet.hosts[0].target("data", "data/settings.json")
    rows = columns(fleet.cli("versions", target))
    assert len(rows) == 3 and ZONED.search(fleet.cli("versions", target))
    assert int(rows[1][0]) > int(rows[2][0])
    assert len(fleet.json("versions", target, "--limit", "1")["versions"]) == 1


def test_cat_gives_the_bytes_of_a_moment_or_a_version(fleet):
    target = fleet.hosts[0].target("data", "data/settings.json")
    oldest = fleet.json("versions", target)["versions"][-1]["version"]
    assert fleet.cli("cat", target) == '{"step": 100}'
    assert fleet.cli("cat", target, "--at", fleet.ago) == '{"step": 1}'
    assert fleet.cli("cat", target, f"--version={oldest}") == '{"step": 1}'
    refused(fleet, USAGE, "cat", target, "--at", fleet.ago, "--version", oldest, says="exclude")


def test_diff_says_what_changed(fleet):
    text = fleet.cli("diff", "robot-01:data", "--from", fleet.ago)
    assert all(line.strip() for line in text.splitlines()), text
    lines = {line.split("/")[-1]: line[0] for line in text.splitlines()}
    assert lines["settings.json"] == "M" and lines["goes.txt"] == "D" and lines["new.txt"] == "A"
    kinds = {c["change"] for c in fleet.json("diff", "robot-01:data", "--from", fleet.ago)["changes"]}
    assert {"added", "removed", "modified"} <= kinds
    refused(fleet, USAGE, "diff", "robot-01:data", says="--from TIME")


# --- times ---

def spellings(moment):
    local = moment.astimezone()
    seconds = (datetime.datetime.now(datetime.timezone.utc) - moment).total_seconds()
    return [moment.isoformat(), moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            moment.astimezone(datetime.timezone(datetime.timedelta(hours=5, minutes=30))).isoformat(),
            f"@{int(moment.timestamp()) + 1}", f"{int(seconds)} seconds ago", f"{int(seconds)}s ago",
            local.astimezone(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M:%S.%f")]


def test_times_are_taken_in_every_spelling(fleet):
    target = fleet.hosts[1].target("data", "data/settings.json")
    wait_until(lambda: datetime.datetime.now(datetime.timezone.utc) -
               datetime.datetime.fromisoformat(fleet.ago) > datetime.timedelta(seconds=3), "some seconds")
    for text in [*spellings(datetime.datetime.fromisoformat(fleet.ago) + datetime.timedelta(seconds=1)),
                 "now"]:
        assert fleet.cli("cat", target, "--at", text) == '{"step": 2}', text
    for text in ("yesterday 18:00", "2 days ago", "2020-02-29", "2020-02-29 10:31", "1h30m ago"):
        refused(fleet, NOT_FOUND, "cat", target, "--at", text)
    for text in ("tomorrowish", "2020-02-30", "25:00", "", "10 parsecs ago"):
        refused(fleet, USAGE, "cat", target, "--at", text, says="--at")


def test_times_are_shown_in_the_zone_of_who_looks(fleet):
    target = fleet.hosts[0].target("data", "data/settings.json")
    env = fleet.collector.cli_env()
    here = run(CLI, "versions", target, env=dict(env, TZ="Asia/Kolkata"))
    assert re.search(r"\d\d:\d\d:\d\d\.\d+ IST", here), here
    assert " UTC" in run(CLI, "versions", target, env=dict(env, TZ="UTC"))


# --- acting ---

def test_a_snapshot_is_made_held_released_and_listed(fleet):
    made = fleet.json("snapshot", "create", "robot-01:data", "--name", "before-update", "--at",
                      fleet.ago)
    assert made["held"] is False
    held = fleet.json("snapshot", "hold", made["id"], "--reason", "audit of 2026")
    assert held["held"] and held["hold_reason"] == "audit of 2026"
    text = fleet.cli("snapshot", "list", "robot-01:data")
    assert "before-update" in text and "robot-01:data" in text and "held audit of 2026" in text
    assert fleet.json("snapshot", "release", made["id"])["held"] is False
    ids = [s["id"] for s in fleet.json("snapshot", "list")["snapshots"]]
    assert made["id"] in ids
    refused(fleet, USAGE, "snapshot", "create", "robot-01:data", says="--name")
    refused(fleet, NOT_FOUND, "snapshot", "create", "robot-01:data", "--name", "too-early", "--at",
            "2020-01-01", says="protected since")
    refused(fleet, NOT_FOUND, "snapshot", "hold", "999999")


def test_a_restore_follows_its_job_and_says_how_it_went(fleet):
    host = fleet.add_host("robot-restore")
    host.write("data/a/f", "old")
    host.write("data/b", "old too")
    fleet.wait()
    moment = now()
    host.write("data/a/f", "new")
    host.write("data/b", "new too")
    fleet.wait()
    would = fleet.cli("restore", "robot-restore:data", "--at", moment, "--dry-run", "--wait")
    assert host.path("data/b").read_text() == "new too" and "succeeded" in would
    assert "dry run: nothing is changed" in would and "done" not in would
    assert re.search(rf"would restore +3 B +{host.path('data/a/f')}$", would, re.M), would
    assert re.search(rf"would restore +7 B +{host.path('data/b')}$", would, re.M), would
    assert re.search(r"^  2 would be restored, [1-9]\d* are as wanted, 0 would be left alone, 0 can't be$",
                     would, re.M), would
    text = fleet.cli("restore", "robot-restore:data", str(host.path("data/a")), "--at", moment, "--wait")
    assert "succeeded" in text and "snapshot" in text and " UTC" in text
    assert host.path("data/a/f").read_text() == "old"
    assert host.path("data/b").read_text() == "new too"
    job = json.loads(fleet.cli("restore", "robot-restore:data", "--at", moment, "--on-conflict=skip",
                               "--expires", "1h", "--json", "--wait"))
    assert job["state"] == "succeeded" and job["on_conflict"] == "skip"
    shown = fleet.cli("job", "show", job["id"])
    assert "skipped" in shown
    assert "robot-restore:data" in fleet.cli("jobs", "--all")
    assert str(job["id"]) in fleet.cli("jobs", "--all", "--host", "robot-restore", "--limit", "1")
    host.stop()


def test_a_job_that_waits_for_its_host_can_be_cancelled(fleet):
    host = fleet.add_host("robot-away")
    host.write("data/f", "x")
    fleet.wait()
    host.stop()
    text = fleet.cli("restore", "robot-away:data", "--no-wait")
    number = re.search(r"Job (\d+) is waiting", text).group(1)
    assert number in fleet.cli("jobs")
    following = subprocess.Popen([str(CLI), "restore", "robot-away:data", "--wait"], text=True,
                                 env=fleet.collector.cli_env(), stdin=subprocess.DEVNULL,
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        said = following.stderr.readline()
        other = re.match(r"Job (\d+) waits: robot-away is offline, last heard 20.* UTC\. It goes on "
                         r"without this command when the host is back, until 20.* UTC$", said).group(1)
        fleet.cli("job", "cancel", other)
        out, err = following.communicate(timeout=60)
    finally:
        following.kill()
        following.wait()
    assert following.returncode == FAILED and f"Job {other} cancelled" in out and err == "", (out, err)
    assert "cancelled" in fleet.cli("job", "cancel", number)
    assert number not in [str(j["id"]) for j in fleet.json("jobs")["jobs"]]
    assert fleet.cli("jobs", "--host", "robot-away") == "No active jobs; --all shows ended ones\n"
    assert fleet.json("jobs", "--host", "robot-away")["jobs"] == []
    assert number in fleet.cli("jobs", "--all", "--host", "robot-away")


def test_a_job_expires_when_its_host_does_not_come_in_time(fleet):
    host = fleet.add_host("robot-late")
    host.write("data/f", "as it was")
    fleet.wait()
    moment = now()
    host.write("data/f", "as it is")
    fleet.wait()
    host.stop()
    job = fleet.json("restore", "robot-late:data", "--at", moment, "--expires", "1s", "--no-wait")
    patient = fleet.json("restore", "robot-late:data", "--at", moment, "--expires", "1h", "--no-wait")
    assert job["state"] == "waiting"
    wait_until(lambda: fleet.json("job", "show", job["id"])["state"] == "expired", "the job to expire",
               pause=0.5)
    assert fleet.json("job", "show", patient["id"])["state"] == "waiting"
    assert "expired" in fleet.cli("job", "show", job["id"])
    fleet.cli("job", "cancel", patient["id"])
    host.start()  # too late: nothing is restored
    fleet.wait()
    assert host.path("data/f").read_text() == "as it is"
    assert fleet.json("job", "show", job["id"])["state"] == "expired"
    host.stop()


def test_a_download_is_a_tar_on_disk_or_in_a_pipe(fleet, tmp_path):
    one = fleet.hosts[0]
    out = tmp_path / "data.tar"
    fleet.cli("download", "robot-01:data", str(one.path("data/deep")), "--at", fleet.ago, "--output", out)
    with tarfile.open(out) as tar:
        names = [m.name for m in tar.getmembers() if m.isfile()]
    assert [n.split("/")[-1] for n in names] == ["note.txt"]
    piped = fleet.cli("download", "robot-01:data", text=False)
    assert piped[257:262] == b"ustar"
    refused(fleet, FAILED, "download", "robot-01:data", "--output", out, says="File exists")
    missing = tmp_path / "none.tar"
    refused(fleet, NOT_FOUND, "download", "robot-99:data", "--output", missing)
    assert not missing.exists()


def test_a_revoked_host_is_shown_as_such(fleet):
    host = fleet.add_host("robot-stolen")
    fleet.wait()
    assert "revoked" in fleet.cli("host", "revoke", "robot-stolen", "--reason", "left in a train")
    wait_until(lambda: not fleet.json("host", "show", "robot-stolen")["online"], "the session's end")
    shown = fleet.json("host", "show", "robot-stolen")
    assert shown["revoked"]["reason"] == "left in a train"
    assert "revoked" in fleet.cli("hosts") and "1 revoked" in fleet.cli("status")
    host.stop(expect=None)


def test_the_audit_log_tells_who_did_what(fleet):
    fleet.cli("host", "label", "robot-02", "audited=yes")
    entries = fleet.json("audit", "--limit", "5")["entries"]
    assert len(entries) == 5
    assert any(e["action"] == "host.label" and "first administrator" in e["actor"] for e in entries)
    assert "ACTION" in fleet.cli("audit") and ZONED.search(fleet.cli("audit"))
    assert "intact" in fleet.cli("audit", "verify") and fleet.json("audit", "verify")["intact"]


# --- refusals ---

def test_bad_input_is_refused_with_a_remedy(fleet):
    for status, arguments, says in [
            (USAGE, ["frobnicate"], "holdfast --help"),
            (USAGE, ["snapshot"], "snapshot create"),
            (USAGE, ["host", "frob"], "host show"),
            (USAGE, ["ls"], "HOST:SOURCE"),
            (USAGE, ["ls", "robot-01"], "HOST:SOURCE"),
            (USAGE, ["cat", "robot-01:data"], "HOST:SOURCE/PATH"),
            (USAGE, ["status", "surplus"], "surplus"),
            (USAGE, ["status", "--frob"], "--frob"),
            (USAGE, ["ls", "robot-01:data", "--at"], "--at TIME"),
            (USAGE, ["status", "-x"], "two dashes"),
            (USAGE, ["hosts", "--json=1"], "takes no value"),
            (USAGE, ["restore", "robot-01:data", "--on-conflict", "merge"], "replace|skip|rename"),
            (USAGE, ["restore", "robot-01:data", "--wait", "--no-wait"], "exclude"),
            (USAGE, ["restore", "robot-01:data", "--expires", "soon"], "--expires"),
            (USAGE, ["token", "create", "--role", "king"], "viewer|operator|admin"),
            (USAGE, ["token", "create", "--role", "viewer", "--uses", "3"], "exclude"),
            (USAGE, ["token", "create", "--uses", "0"], "--uses"),
            *((USAGE, ["token", "create", *kind, "--ttl", ttl], "--ttl")
              for kind in ([], ["--role", "viewer"]) for ttl in ("0s", "0", "500ms", "-1s")),
            *((USAGE, ["restore", "robot-01:data", "--expires", text], "--expires")
              for text in ("0s", "999ms")),
            (USAGE, ["token", "create", "--label", "x"], "KEY=VALUE"),
            (USAGE, ["audit", "--limit", "many"], "--limit"),
            (USAGE, ["wait", "--timeout", "x"], "--timeout"),
            (NOT_FOUND, ["host", "show", "robot-99"], "holdfast hosts"),
            (NOT_FOUND, ["ls", "robot-01:nothing"], "holdfast sources"),
            (NOT_FOUND, ["ls", "robot-01:data/nowhere"], "--at"),
            (NOT_FOUND, ["job", "show", "424242"], "holdfast jobs"),
            (NOT_FOUND, ["token", "revoke", "ffff"], ""),
            (USAGE, ["ls", "robot-01:data/../../etc"], ".."),
            (USAGE, ["restore", "robot-01:data", "--expires", "100000d"], "year"),
            (USAGE, ["restore", "robot-01:data", "--to", "relative"], "absolute"),
            (USAGE, ["restore", "robot-01:data", "--at", "2099-01-01"], "one to come"),
            (USAGE, ["cat", "robot-01:data/x", "--version", "abc"], "abc"),
            (USAGE, ["job", "show", "abc"], "abc"),
            (USAGE, ["job", "cancel", "abc"], "abc"),
            (USAGE, ["snapshot", "hold", "abc"], "abc"),
            (USAGE, ["snapshot", "create", "robot-01:data", "--name", ""], "name"),
            (USAGE, ["snapshot", "create", "robot-01:data", "--name", "n", "--at", "2099-01-01"],
             "passed"),
            (USAGE, ["man", "frobnicate"], "--help")]:
        refused(fleet, status, *arguments, says=says)


def test_a_source_taken_out_of_the_configuration_is_retired_and_not_waited_for(fleet):
    host = fleet.add_host("robot-slimmer", start=False)
    host.configure(host.source("data") + host.source("logs"))
    host.write("data/f", "f")
    host.write("logs/l", "the log")
    host.start()
    fleet.wait()
    host.stop()
    host.configure(host.source("data"))
    host.start()

    def state_of(name):
        return {s["name"]: s for s in fleet.json("sources", "--host", "robot-slimmer")["sources"]}[name]
    wait_until(lambda: state_of("logs")["state"] == "retired", "the source to be retired")
    fleet.cli("wait", "robot-slimmer", "--timeout", "30s")
    assert not state_of("logs")["late"] and state_of("data")["state"] != "retired"
    assert "1 retired" in fleet.cli("status") and fleet.json("status")["sources"]["retired"] == 1
    labels = f'{{host="robot-slimmer",host_id="{state_of("logs")["host"]}",source="logs",class="config"}}'
    metrics = fleet.metrics()
    assert metrics["holdfast_source_retired" + labels] == 1
    assert metrics["holdfast_source_late" + labels] == 0
    assert fleet.cli("cat", host.target("logs", "logs/l")) == "the log"
    # Back again, it counts again.
    host.stop()
    host.configure(host.source("data") + host.source("logs"))
    host.start()
    wait_until(lambda: state_of("logs")["state"] != "retired", "the source to be back")
    fleet.cli("wait", "robot-slimmer", "--timeout", "30s")
    host.stop()


def test_wait_says_to_programs_what_it_waited_for(fleet):
    before = datetime.datetime.now(datetime.timezone.utc)
    answer = fleet.json("wait", "robot-01", "robot-02")
    assert answer["protected"] is True and answer["behind"] == []
    moment = datetime.datetime.fromisoformat(answer["moment"][:19] + "+00:00")
    assert abs(moment - before) < datetime.timedelta(minutes=5)
    assert fleet.json("wait")["protected"] is True


def test_wait_gives_up_when_its_time_is_over(fleet):
    one = fleet.hosts[0]
    os.kill(one.pid, 19)  # SIGSTOP: online, and silent
    try:
        refused(fleet, TIMED_OUT, "wait", "robot-01", "--timeout", "1s")
        late = fleet.cli("wait", "robot-02", "robot-01", "--timeout", "1s", "--json", check=False)
        assert late.returncode == TIMED_OUT and json.loads(late.stdout)["protected"] is False
        assert [(s["host_name"], s["name"]) for s in json.loads(late.stdout)["behind"]] == [
            ("robot-01", "data")]
    finally:
        os.kill(one.pid, 18)


def test_a_collector_that_is_not_there_or_not_the_one_is_told_apart(fleet, tmp_path):
    def ask(**changes):
        return run(CLI, "status", env=dict(fleet.collector.cli_env(), **changes), check=False)
    gone = ask(HOLDFAST_URL="https://127.0.0.1:1")
    assert gone.returncode == UNREACHABLE and "127.0.0.1:1" in gone.stderr
    plain = ask(HOLDFAST_URL=f"http://127.0.0.1:{fleet.collector.ports['api']}")
    assert plain.returncode == UNREACHABLE
    run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
        "-keyout", tmp_path / "k", "-out", tmp_path / "other.pem", "-subj", "/CN=other", "-days", "2")
    other = ask(HOLDFAST_CA_FILE=str(tmp_path / "other.pem"))
    assert other.returncode == UNREACHABLE and "--ca-file" in other.stderr
    (tmp_path / "token").write_text("hfa.0011223344556677.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n")
    unknown = ask(HOLDFAST_TOKEN_FILE=str(tmp_path / "token"))
    assert unknown.returncode == DENIED and "holdfast token create" in unknown.stderr
    none = ask(HOLDFAST_TOKEN_FILE=str(tmp_path / "absent"))
    assert none.returncode == DENIED and "absent" in none.stderr


def test_the_configuration_file_stands_in_for_options(fleet, tmp_path):
    config = fleet.collector.directory / "cli.conf"
    port = fleet.collector.ports["api"]
    text = re.sub(r"url = .*", f"url = https://127.0.0.1:{port}", config.read_text())
    (tmp_path / "cli.conf").write_text(text)
    env = {k: v for k, v in os.environ.items() if not k.startswith("HOLDFAST_")}
    assert "online" in run(CLI, "status", env=dict(env, HOLDFAST_CONFIG=str(tmp_path / "cli.conf")))
    bare = run(CLI, "status", env=dict(env, HOME=str(tmp_path)), check=False)
    assert bare.returncode == USAGE and "HOLDFAST_URL" in bare.stderr


def test_a_terminal_does_not_obey_the_names_of_files(fleet):
    host = fleet.add_host("robot-hostile")
    name = "evil\x1b]0;owned\x07\x1b[2J\r\n\u202etxt"
    host.write("data/" + name, "x")
    fleet.wait()
    target = host.target("data", "data")
    for text in (fleet.cli("ls", target), fleet.cli("diff", "robot-hostile:data", "--from", "2020-01-01"),
                 fleet.cli("restore", "robot-hostile:data", "--wait", "--on-conflict", "rename"),
                 fleet.cli("cat", target + "/" + name + "no", check=False).stderr):
        assert not set(text) & {"\x1b", "\x07", "\r", "\u202e"}, repr(text)
    assert "\\x1b" in fleet.cli("ls", target) and "\\u202e" in fleet.cli("ls", target)
    assert any(e["path"].endswith(name) for e in fleet.json("ls", target)["entries"])
    assert fleet.cli("cat", target + "/" + name) == "x"
    host.stop()


def test_any_name_that_a_file_can_have_is_reached_by_it(fleet, tmp_path):
    host = fleet.add_host("robot-names")
    names = ["a&b=c+d%41 e#f?g;h", "%2e%2e", "quote'\"`$x", "tab\tline\nreturn\r", "-dash", "\u00fc\u4e2d",
             "a:b", "x" * 200]
    for name in names:
        host.write("data/d/" + name, "content of " + name)
    raw = os.fsencode(host.path("data/d")) + b"/\xff\xfe\x01"
    with open(raw, "w") as handle:
        handle.write("raw")
    fleet.wait()
    for name in names:
        target = host.target("data", "data/d/" + name)
        assert fleet.cli("cat", target, text=False) == ("content of " + name).encode(), name
        assert len(fleet.json("versions", target)["versions"]) == 1
        assert fleet.json("ls", target)["entries"][0]["path"].endswith("/" + name)
    assert fleet.cli("cat", "robot-names:data" + os.fsdecode(raw)) == "raw"
    paths = [str(host.path("data/d/" + names[0])), str(host.path("data/d/" + names[3])), os.fsdecode(raw)]
    fleet.cli("download", "robot-names:data", *paths, "--output", tmp_path / "n.tar")
    with tarfile.open(tmp_path / "n.tar", errors="surrogateescape") as tar:
        found = sorted("/" + m.name for m in tar.getmembers() if m.isfile())
    assert found == sorted(paths)
    moment = now()
    shutil.rmtree(host.path("data/d"))
    fleet.cli("restore", "robot-names:data", *paths, "--at", moment, "--wait")
    assert sorted(os.fsdecode(p) for p in os.listdir(os.fsencode(host.path("data/d")))) == sorted(
        p.rsplit("/", 1)[1] for p in paths)
    host.stop()


# --- terminals ---

def on_terminal(env, *arguments, stderr_only=False):
    """Run under a pty; returns the exit status and what appeared on it."""
    main, side = pty.openpty()
    process = subprocess.Popen([str(CLI), *map(str, arguments)], env=env, stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL if stderr_only else side, stderr=side)
    os.close(side)
    seen = b""
    end = time.monotonic() + 120
    while time.monotonic() < end:
        if select.select([main], [], [], 1)[0]:
            try:
                data = os.read(main, 65536)
            except OSError:
                break
            if not data:
                break
            seen += data
    os.close(main)
    return process.wait(60), seen.decode(errors="replace")


def test_a_terminal_sees_a_bar_with_rate_and_the_job_is_followed(fleet):
    host = fleet.add_host("robot-bar")
    host.write("data/big", os.urandom(8 << 20))
    fleet.wait()
    moment = now()
    host.path("data/big").unlink()
    fleet.wait()
    status, seen = on_terminal(fleet.collector.cli_env(), "restore", "robot-bar:data", "--at", moment)
    assert status == DONE and "succeeded" in seen
    assert re.search(r"Job \d+: interrupting this command does not stop it", seen)
    assert "Restoring" in seen and "/s" in seen and "\x1b[K" in seen
    assert host.path("data/big").stat().st_size == 8 << 20
    status, seen = on_terminal(fleet.collector.cli_env(), "download", "robot-bar:data", stderr_only=True)
    assert status == DONE and re.search(r"Downloading \[[#.]+\] +\d+ %, .*iB, .*/s, .* left", seen)
    host.stop()


def test_a_tar_is_not_thrown_at_a_terminal(fleet):
    status, seen = on_terminal(fleet.collector.cli_env(), "download", "robot-01:data")
    assert status == USAGE and "--output FILE" in seen


# --- help, manual pages, completion ---

def commands():
    text = run(CLI, "--help")
    body = text.split("Commands\n")[1].split("\n\n")[0]
    return [re.match(r"  ([a-z]+(?: [a-z]+)?)  ", line).group(1) for line in body.splitlines()]


def test_help_and_manual_page_of_each_command_name_the_same_options():
    assert {"status", "host revoke", "restore", "audit verify", "token create"} <= set(commands())
    for command in commands():
        text = run(CLI, *command.split(), "--help")
        assert text == run(CLI, "help", *command.split())
        page = run(CLI, "man", *command.split())
        options = re.findall(r"^  --([a-z-]+)", text, re.M)
        assert options == [o.replace("\\", "") for o in re.findall(r"^\\fB\\-\\-([a-z\\-]+)\\fR", page, re.M)]
        assert "Exit status" in text and ".SH EXIT STATUS" in page
        name = "holdfast-" + command.replace(" ", "-")
        assert page.split("\n")[2].replace("\\", "").startswith(f"{name} - ")
        assert re.match(rf'\.TH "{name.upper()}" 1 "20\d\d-\d\d-\d\d" ', page)


def complete(*words):
    """What a real bash offers after these words."""
    script = """
    source /dev/stdin
    COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMP_LINE="$*" COMP_POINT=${#COMP_LINE}
    "$(complete -p holdfast | sed 's/.*-F \\([^ ]*\\) .*/\\1/')" holdfast
    printf '%s\\n' "${COMPREPLY[@]}"
    """
    return run("bash", "--norc", "-c", script, "bash", "holdfast", *words, input=run(CLI, "completion")).split()


def test_bash_completes_commands_options_and_choices():
    assert {"status", "host", "hosts", "job", "jobs", "snapshot", "restore", "help"} <= set(complete(""))
    assert complete("rest") == ["restore"]
    assert {"show", "label", "revoke"} == set(complete("host", "")) - set(complete("hosts", "x--")) - {
        o for o in complete("host", "") if o.startswith("-")}
    assert set(complete("snapshot", "")) >= {"create", "list", "hold", "release"}
    assert {"--at", "--to", "--dry-run", "--json"} <= set(complete("restore", "r:s", "--"))
    assert set(complete("restore", "r:s", "--on-conflict", "")) == {"replace", "skip", "rename"}
    assert complete("token", "create", "--role", "op") == ["operator"]
    assert "--uses" in complete("token", "create", "--u")


# --- roles, tokens, patience ---

@contextlib.contextmanager
def as_role(fleet, role, tmp_path):
    made = json.loads(fleet.cli("token", "create", "--role", role, "--name", f"a {role}", "--json"))
    path = tmp_path / f"{role}.token"
    path.write_text(made["token"] + "\n")
    yield dict(fleet.collector.cli_env(), HOLDFAST_TOKEN_FILE=str(path)), made
    fleet.cli("token", "revoke", made["id"])


ROLES = {"viewer": 1, "operator": 2, "admin": 3}
MATRIX = [
    (1, ["status"]), (1, ["hosts"]), (1, ["host", "show", "robot-02"]), (1, ["sources"]),
    (1, ["ls", "robot-02:data"]), (1, ["snapshot", "list"]), (1, ["jobs", "--all"]), (1, ["audit"]),
    (1, ["audit", "verify"]), (1, ["diff", "robot-02:data", "--from", "2020-01-01"]),
    (1, ["download", "robot-02:data", "--output", "/dev/stdout"]),
    (2, ["host", "label", "robot-02", "by=role"]),
    (2, ["snapshot", "create", "robot-02:data", "--name", "roles"]),
    (2, ["restore", "robot-02:data", "--dry-run", "--no-wait"]),
    (3, ["token", "list"]), (3, ["token", "create"]),
    (3, ["token", "create", "--role", "viewer", "--ttl", "1m"]),
    (3, ["host", "revoke", "robot-99"]), (3, ["token", "revoke", "0123"]),
]


@pytest.mark.parametrize("role", ROLES)
def test_each_role_may_do_its_own_and_no_more(fleet, role, tmp_path):
    with as_role(fleet, role, tmp_path) as (env, made):
        for needed, command in MATRIX:
            if command[0] == "download":
                command = ["download", "robot-02:data", "--output", tmp_path / f"{role}.tar"]
            result = run(CLI, *command, env=env, check=False)
            if ROLES[role] >= needed:
                assert result.returncode in (DONE, NOT_FOUND), f"{role} {command}: {result.stderr}"
            else:
                assert result.returncode == DENIED, f"{role} {command}: {result.stdout}"
                assert "needs the role" in result.stderr
        refusals = [e for e in fleet.json("audit", "--limit", "200")["entries"]
                    if e["outcome"] == "refused" and made["id"] in e["actor"]]
        assert len(refusals) >= sum(needed > ROLES[role] and command[:2] != ["token", "list"]
                                    for needed, command in MATRIX)
    assert run(CLI, "status", env=env, check=False).returncode == DENIED, "revoked, and still good"


def test_of_a_token_only_a_hash_is_stored(fleet):
    enrol = fleet.json("token", "create", "--ttl", "10m", "--label", "a=b")
    role = fleet.json("token", "create", "--role", "viewer", "--name", "hash")
    assert "token" not in json.dumps(fleet.json("token", "list")["tokens"])
    for token in (enrol["token"], role["token"]):
        secret = token.rsplit(".", 1)[1]
        assert len(secret) >= 22, "at least 128 bits"
        for path in fleet.collector.directory.rglob("*"):
            if path.is_file() and path.name != "admin.token":
                assert secret.encode() not in path.read_bytes(), path
        assert secret not in fleet.collector.output()
    rows = columns(fleet.cli("token", "list"))
    assert [role["id"]] == [row[0] for row in rows if row[0] == role["id"]]


def test_a_token_without_ttl_has_an_hour_or_no_end(fleet):
    now_s = datetime.datetime.now(datetime.timezone.utc)
    enrol = fleet.json("token", "create")
    ends = datetime.datetime.fromisoformat(enrol["expires"][:19] + "+00:00")
    assert datetime.timedelta(minutes=55) < ends - now_s < datetime.timedelta(minutes=65)
    assert "expires" not in fleet.json("token", "create", "--role", "viewer")


def test_the_list_of_tokens_says_which_are_still_good(fleet):
    def state_of(token):
        return {row[0]: row[-1] for row in columns(fleet.cli("token", "list"))}[token["id"]]
    good = fleet.json("token", "create")
    brief = fleet.json("token", "create", "--ttl", "1s")
    withdrawn = fleet.json("token", "create")
    fleet.cli("token", "revoke", withdrawn["id"])
    wait_until(lambda: state_of(brief) == "expired", "the token's end")
    assert state_of(good) == "valid" and state_of(withdrawn) == "revoked"
    states = [t["state"] for t in fleet.json("token", "list")["tokens"] if t.get("uses_left") == 0]
    assert states and set(states) == {"used-up"}  # those that this test's hosts came with


def test_a_token_ends_with_its_time(fleet, tmp_path):
    made = fleet.json("token", "create", "--role", "viewer", "--ttl", "1s")
    (tmp_path / "t").write_text(made["token"])
    env = dict(fleet.collector.cli_env(), HOLDFAST_TOKEN_FILE=str(tmp_path / "t"))
    wait_until(lambda: run(CLI, "status", env=env, check=False).returncode == DENIED,
               "the token's end", pause=0.3)


def test_whoever_guesses_tokens_has_to_wait():
    with Fleet() as fleet:
        url = f"https://127.0.0.1:{fleet.collector.ports['api']}/v1/status"
        ca = str(fleet.collector.directory / "ca/root.pem")
        wrong = "Authorization: Bearer hfa.0011223344556677.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
        answers = [run("curl", "-s", "-o", "/dev/null", "-w", "%{http_code} %header{retry-after}",
                       "--cacert", ca, "-H", wrong, url).split() for _ in range(14)]
        assert answers[0] == ["401"] and answers[-1][0] == "429" and int(answers[-1][1]) > 0
        assert [a[0] for a in answers].count("401") == 10
        assert run("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--cacert", ca,
                   url.replace("v1/status", "health")) == "200"


def test_a_changed_audit_log_is_found():
    with Fleet() as fleet:
        fleet.cli("token", "create", "--role", "viewer", "--name", "innocent")
        fleet.cli("token", "create", "--role", "viewer", "--name", "guilty")
        fleet.cli("token", "create", "--role", "viewer", "--name", "later")
        assert "intact" in fleet.cli("audit", "verify")
        fleet.collector.stop()
        database = sqlite3.connect(fleet.collector.directory / "catalog.db")
        changed = database.execute("UPDATE audit SET detail = 'nothing to see' WHERE seq = 3").rowcount
        assert changed == 1
        database.commit()
        database.close()
        fleet.collector.start()
        result = fleet.cli("audit", "verify", check=False)
        assert result.returncode == FAILED and "entry 3" in result.stderr, result
        assert fleet.cli("audit", "verify", "--json", check=False).returncode == FAILED


# --- health ---

def test_health_and_readiness_need_no_token(fleet):
    base = f"https://127.0.0.1:{fleet.collector.ports['api']}"
    ca = str(fleet.collector.directory / "ca/root.pem")
    assert json.loads(run("curl", "-sf", "--cacert", ca, base + "/health")) == {"status": "healthy"}
    assert json.loads(run("curl", "-sf", "--cacert", ca, base + "/ready")) == {"ready": True}
    assert run("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--cacert", ca,
               base + "/v1/hosts") == "401"
    assert run("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--cacert", ca, "-X", "DELETE",
               base + "/v1/hosts") == "405"
