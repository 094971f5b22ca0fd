"""deploy/quickstart as a new user runs it, but over the programs of this build."""
import os
import pathlib
import re
import subprocess

from fleet import BUILD, SOURCE, run, wait_until

QUICKSTART = SOURCE / "deploy/quickstart"


def quickstart(scratch, *arguments):
    env = {key: value for key, value in os.environ.items() if not key.startswith("HOLDFAST_")}
    return run(QUICKSTART, "--build", BUILD, *arguments, env=dict(env, TMPDIR=str(scratch), TZ="UTC"),
               timeout=600)


def processes_of(scratch):
    """Processes that were started with something in scratch."""
    found = []
    for entry in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if os.fsencode(str(scratch)) in entry.read_bytes():
                found.append(int(entry.parent.name))
        except OSError:
            pass
    return found


def test_it_protects_loses_and_restores_and_leaves_nothing(tmp_path):
    text = quickstart(tmp_path)
    assert "everything on both hosts is durable" in text
    assert re.search(r"robot-01:checkpoints +checkpoints +watching", text)
    assert "workflows, projects and the robot's identity deleted" in text
    assert text.count("succeeded: robot-01:") >= 4 and "what was there before is snapshot" in text
    files = int(re.search(r"every one of the (\d+) files has the SHA-256", text).group(1))
    assert files > 20
    assert "every one of the 3 databases is sound and holds what it held then" in text
    assert re.search(r"Content +[\d.]+ [KM]iB of all versions, each of \d+ chunks once", text)
    assert re.search(r"Stored +[\d.]+ [KM]iB in \d+ packs, [\d.]+ to 1 by compression", text)
    assert "intact" in text
    assert re.search(r"remembering the SHA-256 of \d+ files at \d\d:\d\d:\d\d\.\d{3} UTC$", text, re.M)
    assert "--keep" in text and "\x1b" not in text
    assert list(tmp_path.iterdir()) == []
    assert processes_of(tmp_path) == []


def test_it_says_that_the_build_takes_a_while_and_when_it_failed(tmp_path):
    fakes = tmp_path / "bin"
    fakes.mkdir()
    (fakes / "cmake").write_text("#!/bin/sh\necho no compiler here\nexit 3\n")
    (fakes / "cmake").chmod(0o755)
    env = dict(os.environ, PATH=f"{fakes}:{os.environ['PATH']}", TMPDIR=str(tmp_path))
    result = run(QUICKSTART, env=env, check=False)
    assert result.returncode == 1 and "the build failed" in result.stderr
    assert "building a release (a few minutes)" in result.stdout.split("no compiler here")[0]


def test_kept_it_stays_up_its_commands_work_and_it_can_be_ended(tmp_path):
    text = quickstart(tmp_path, "--keep")
    end = re.search(r"To end it: (.*)", text).group(1)
    try:
        shown = text.split("In this shell:")[1].split("To end it:")[0]
        commands = [line.strip() for line in shown.splitlines() if line.strip()]
        assert len([c for c in commands if c.startswith("holdfast ")]) >= 4
        output = run("bash", "-c", "\n".join(["set -e", f"cd {tmp_path}", *commands]))
        assert "orchestrator-01" in output and "agent_robot-01.json" in output
        assert (tmp_path / "workflows.tar").stat().st_size > 10240
        assert len(processes_of(tmp_path)) >= 3
    finally:
        subprocess.run(["bash", "-c", end], check=False)
    wait_until(lambda: not processes_of(tmp_path), "its processes to end")
    assert [p.name for p in tmp_path.iterdir()] == ["workflows.tar"]


def test_what_it_does_not_know_it_refuses():
    wrong = run(QUICKSTART, "--frob", check=False)
    assert wrong.returncode == 2 and "--keep" in wrong.stderr
    nowhere = run(QUICKSTART, "--build", "/nonexistent", check=False)
    assert nowhere.returncode == 2 and "--build" in nowhere.stderr
