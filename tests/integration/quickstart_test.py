"""deploy/quickstart as a new user runs it, but over the programs of this build."""
import os
import pathlib
import re
import shutil
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
    executable(fakes / "cmake", "#!/bin/sh\necho no compiler here\nexit 3\n")
    env = dict(os.environ, PATH=f"{fakes}:{os.environ['PATH']}", TMPDIR=str(tmp_path))
    result = run(QUICKSTART, env=env, check=False)
    assert result.returncode == 1 and "the build failed" in result.stderr
    assert "building a release (a few minutes)" in result.stdout.split("no compiler here")[0]


def executable(path, text):
    path.write_text(text)
    path.chmod(0o755)


def machine_without_packages(scratch):
    """The environment of one, as the script sees it: nothing is installed, and apt-get is asked what it would do."""
    fakes = scratch / "bin"
    fakes.mkdir()
    asked = scratch / "asked"
    executable(fakes / "dpkg-query", "#!/bin/sh\nexit 1\n")
    executable(fakes / "sudo", "#!/bin/sh\nexec \"$@\"\n")
    executable(fakes / "apt-get", f"""#!/bin/sh
echo "$@" >>{asked}
[ "$1" = update ] || exec {shutil.which("apt-get")} --simulate "$@"
""")
    executable(fakes / "cmake", "#!/bin/sh\necho the packages come before me\nexit 3\n")
    return dict(os.environ, PATH=f"{fakes}:{os.environ['PATH']}", TMPDIR=str(scratch)), asked


def test_it_installs_packages_that_apt_knows_before_it_builds(tmp_path):
    env, asked = machine_without_packages(tmp_path)
    result = run(QUICKSTART, env=env, check=False)
    assert "the packages come before me" in result.stdout, result.stderr
    words = asked.read_text().split()
    assert words[0] == "install" and "-y" in words and "--no-install-recommends" in words
    assert {"libwebsockets-dev", "cmake", "openssl"} <= set(words), "those for the build and those for the show"
    assert re.search(r"Installing \d+ Debian packages", result.stdout)
    # All that the tests have installed are packages too.
    run(SOURCE / "deploy/dependencies", "build", "demo", "test", env=env)


def test_a_package_that_apt_does_not_know_ends_it_with_apts_words_and_a_remedy(tmp_path):
    env, asked = machine_without_packages(tmp_path)
    text = (SOURCE / "deploy/dependencies").read_text()
    wrong = text.replace("libwebsockets-dev", "libwebsockets-dve")
    assert wrong != text
    executable(tmp_path / "dependencies", wrong)
    result = run(tmp_path / "dependencies", "build", env=env, check=False)
    assert result.returncode == 1
    assert "libwebsockets-dve" in result.stderr and "check the network" in result.stderr
    assert [line.split()[0] for line in asked.read_text().splitlines()] == ["install", "update", "install"], \
        "lists that are old are made new before it gives up"


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
