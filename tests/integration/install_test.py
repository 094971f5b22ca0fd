"""`cmake --install` as a packager runs it: what lands where, and that it works from there."""
import os
import pathlib
import re
import shutil
import stat
import subprocess

import pytest

from fleet import BUILD, SOURCE, run


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    root = tmp_path_factory.mktemp("destdir")
    run("cmake", "--install", BUILD, env=dict(os.environ, DESTDIR=str(root)))
    cache = (BUILD / "CMakeCache.txt").read_text()
    prefix = re.search(r"CMAKE_INSTALL_PREFIX:PATH=(.*)", cache).group(1)
    return root, root / prefix.lstrip("/"), prefix


def commands():
    """Commands of the CLI that have a page of their own."""
    body = run(BUILD / "collector/holdfast", "--help").split("Commands\n")[1].split("\n\n")[0]
    return [re.match(r"  ([a-z]+(?: [a-z]+)?)  ", line).group(1) for line in body.splitlines()]


def test_every_file_is_where_the_fhs_has_it_and_nothing_else_is(tree):
    root, top, _ = tree
    expected = {"bin/holdfast": 0o755, "sbin/holdfast-agent": 0o755, "sbin/holdfast-collector": 0o755}
    data = ["lib/systemd/system/holdfast-agent.service", "lib/systemd/system/holdfast-collector.service",
            "lib/sysusers.d/holdfast.conf", "share/bash-completion/completions/holdfast",
            "share/man/man1/holdfast.1", "share/man/man8/holdfast-agent.8",
            "share/man/man8/holdfast-collector.8", "share/man/man5/holdfast-agent.conf.5",
            "share/man/man5/holdfast-collector.conf.5", "share/doc/holdfast/runbook.md",
            "share/doc/holdfast/examples/agent.conf", "share/doc/holdfast/LICENSE",
            *(f"share/doc/holdfast/{name}.md" for name in ("PROTOCOL", "API", "FORMAT", "JOURNAL")),
            *(f"share/man/man1/holdfast-{command.replace(' ', '-')}.1" for command in commands())]
    expected.update(dict.fromkeys(data, 0o644))
    found = {str(p.relative_to(top)): stat.S_IMODE(p.stat().st_mode)
             for p in root.rglob("*") if not p.is_dir()}
    assert found == expected
    assert all(stat.S_IMODE(p.stat().st_mode) == 0o755 for p in top.rglob("*") if p.is_dir())


def test_the_installed_programs_run(tree, tmp_path):
    _, top, _ = tree
    for name in ("bin/holdfast", "sbin/holdfast-agent", "sbin/holdfast-collector"):
        assert re.match(r"holdfast\S* \d+\.\d+\.\d+$", run(top / name, "version").strip())
        assert "RUNPATH" not in run("readelf", "-d", top / name)
    text = (top / "share/doc/holdfast/examples/agent.conf").read_text()
    (tmp_path / "agent.conf").write_text(text)
    (tmp_path / "agent.conf").chmod(0o600)
    assert "Source checkpoints" in run(top / "sbin/holdfast-agent", "check", "--config", tmp_path / "agent.conf")
    assert "Made a collector" in run(top / "sbin/holdfast-collector", "init", "--data", tmp_path / "data",
                                     "--name", "localhost")


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")
def test_systemd_accepts_the_units(tree, tmp_path):
    _, top, prefix = tree
    for name in ("holdfast-agent", "holdfast-collector"):
        text = (top / f"lib/systemd/system/{name}.service").read_text()
        assert f"ExecStart={prefix}/sbin/{name} run" in text and "@" not in text
        unit = tmp_path / f"{name}.service"
        unit.write_text(text.replace(prefix + "/", str(top) + "/"))
        result = subprocess.run(["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True,
                                text=True, stdin=subprocess.DEVNULL, timeout=60, check=False)
        complaints = [line for line in result.stderr.splitlines() if name in line]
        assert complaints == [], result.stderr


def test_man_finds_a_page_for_each_program_command_and_file(tree):
    _, top, _ = tree
    pages = ["holdfast", "holdfast-agent", "holdfast-collector", "holdfast-agent.conf",
             "holdfast-collector.conf", *("holdfast-" + c.replace(" ", "-") for c in commands())]
    for page in pages:
        text = run("man", "-P", "cat", "-M", top / "share/man", page,
                   env=dict(os.environ, MANWIDTH="100", LC_ALL="C.UTF-8"))
        assert "NAME" in text and "SYNOPSIS" in text, page


def test_bash_loads_the_installed_completion_by_itself(tree):
    _, top, _ = tree
    script = ("source /usr/share/bash-completion/bash_completion; _completion_loader holdfast; "
              "complete -p holdfast")
    env = dict(os.environ, XDG_DATA_DIRS=str(top / "share"), BASH_COMPLETION_USER_DIR="/nonexistent")
    result = run("bash", "--norc", "-c", script, env=env, check=False)
    assert "_holdfast holdfast" in result.stdout, result.stderr


def test_the_runbook_names_only_what_is_there():
    text = pathlib.Path(SOURCE / "deploy/README.md").read_text()
    known = set(commands())
    for used in re.findall(r"^    holdfast ([a-z]+(?: [a-z]+)?)", text, re.M):
        assert used in known or used.split()[0] in known, used
