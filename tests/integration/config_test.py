"""What an agent makes of its configuration: the presets' sources, what `check` says, and what happens when
it changes while the agent runs."""
import fcntl
import os
import signal

import pytest

from fleet import AGENT, Fleet, run, wait_until


@pytest.fixture(scope="module")
def fleet():
    with Fleet() as fleet:
        yield fleet


def test_a_host_with_a_robot_and_an_orchestrator_has_the_files_of_both_protected(fleet):
    host = fleet.add_host("robot-both", start=False)
    robot, second, orchestrator = (host.path(name) for name in ("robot", "second", "orchestrator"))
    host.configure(f"[preset casare-robot]\nhome = {robot}\nsystem = no\n"
                   f"[preset casare-orchestrator]\nhome = {orchestrator}\nsystem = no\n"
                   f"[preset casare-robot]\nhome = {second}\nsystem = no\n")
    for home in ("robot", "second", "orchestrator"):
        host.write(f"{home}/.casare_rpa/.env", f"HOME_OF={home}\n")
        host.write(f"{home}/workflows/flow.json", f'{{"of": "{home}"}}')
    host.start()
    fleet.wait()
    for home in (robot, second, orchestrator):
        assert fleet.cli("cat", f"{host.name}:config{home}/.casare_rpa/.env") == f"HOME_OF={home.name}\n"
        assert fleet.cli("cat", f"{host.name}:workflows{home}/workflows/flow.json") == f'{{"of": "{home.name}"}}'
    names = [one["name"] for one in fleet.json("sources")["sources"] if one["host_name"] == host.name]
    assert len(names) == len(set(names)) and "checkpoints" in names and "store" in names
    host.stop()


def test_a_home_with_a_slash_at_its_end_is_protected_all_the_same(fleet):
    host = fleet.add_host("robot-slash", start=False)
    host.configure(f"[preset casare-robot]\nhome = {host.path('robot')}/\nsystem = no\n")
    host.write("robot/.casare_rpa/.env", "A=1\n")
    host.start()
    fleet.wait()
    assert fleet.cli("cat", f"{host.name}:config{host.path('robot/.casare_rpa/.env')}") == "A=1\n"
    host.stop()


def test_an_agent_finds_a_collector_that_moved(fleet):
    host = fleet.add_host("robot-left-behind", start=False)
    settings = host.directory / "identity/identity.ini"
    port = fleet.collector.ports["agents"]
    settings.write_text(settings.read_text().replace(f":{port}", ":1"))  # where nobody listens
    host.write("data/file", "found")
    host.start()
    wait_until(lambda: "no connection to the collector" in host.output(), "the agent to look in the old place")
    host.config_path.write_text(host.config_path.read_text() + f"[collector]\naddress = 127.0.0.1:{port}\n")
    os.kill(host.pid, signal.SIGHUP)
    wait_until(lambda: fleet.cli("cat", host.target("data", "data/file"), check=False).stdout == "found", "the file")
    assert f"Collector 127.0.0.1 port {port}" in check(host.config_path).stdout
    host.stop()


# --- check ---

def check(path, *arguments):
    return run(AGENT, "check", "--config", path, *arguments, check=False)


def test_check_refuses_a_file_that_run_would_refuse(fleet):
    host = fleet.add_host("robot-checked", start=False)
    assert check(host.config_path).returncode == 0
    for mode in (0o666, 0o620):
        host.config_path.chmod(mode)
        result = check(host.config_path)
        assert result.returncode == 1 and "chmod go-w" in result.stderr
        assert run(AGENT, "run", "--config", host.config_path, check=False).returncode == 1
    assert check(host.directory / "none.conf").returncode == 1


def test_check_says_all_that_was_configured_and_warns_of_what_will_fail(fleet):
    host = fleet.add_host("robot-warned", start=False)
    hook = host.write("hook", "#!/bin/sh\n")
    host.configure(host.source("data", debounce="300ms", rescan="7m", before_restore="/nonexistent/hook  stop it",
                               after_restore=hook))
    result = check(host.config_path)
    assert result.returncode == 0
    for text in ("300 ms", "7 min", "before a restore runs /nonexistent/hook stop it",
                 f"after a restore runs {hook}", "before_restore: there is no /nonexistent/hook",
                 f"{hook} is not a program"):
        assert text in result.stdout, result.stdout
    assert "joined" not in result.stdout
    hook.chmod(0o755)
    host.configure(host.source("data", after_restore=hook))
    assert "warning" not in check(host.config_path).stdout
    hook.chmod(0o757)
    assert f"{hook} can be changed by anybody" in check(host.config_path).stdout
    (host.directory / "identity/agent.pem").unlink()
    result = check(host.config_path)
    assert result.returncode == 0 and "warning: This host has not joined a collector yet" in result.stdout


@pytest.mark.parametrize("command", ["check", "run"])
def test_help_of_a_command_is_help_and_no_mistake(command):
    for option in ("--help", "-h"):
        result = run(AGENT, command, option, check=False)
        assert result.returncode == 0 and "Usage" in result.stdout and not result.stderr


# --- SIGHUP ---

def hang_up(host, saying):
    before = host.output().count(saying)
    os.kill(host.pid, signal.SIGHUP)
    wait_until(lambda: host.output().count(saying) > before, f"the agent to say: {saying}")


def configure(host, state="state", identity="identity"):
    host.config_path.write_text(
        f"[agent]\nstate = {host.directory / state}\nmark_interval = 100ms\nreconnect_max = 1s\n"
        f"[identity]\ndirectory = {host.directory / identity}\n" + host.source("data"))


def is_protected(fleet, host, content):
    """What is written now comes to the collector."""
    host.write("data/file", content)
    wait_until(lambda: fleet.cli("cat", host.target("data", "data/file"), check=False).stdout == content,
               "the file")


def is_locked(directory):
    with open(directory / "lock") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


STAYS = "the changed configuration is not used, the present one stays"
GOES_BACK = "the changed configuration can't be used, going back to the one before"
GOES_ON = "going on with the changed configuration"


def test_a_changed_configuration_that_can_not_start_leaves_the_host_protected(fleet):
    host = fleet.add_host("robot-mistyped")
    neighbour = fleet.add_host("robot-neighbour")
    is_protected(fleet, host, "at first")
    wait_until(lambda: is_locked(neighbour.directory / "state"), "the neighbour to run")

    configure(host, identity="identitty")
    hang_up(host, STAYS)
    assert "has not joined" in host.output()
    is_protected(fleet, host, "with a mistyped identity")

    configure(host, state=f"../{neighbour.name}/state")
    hang_up(host, STAYS)  # '..' is refused
    host.config_path.write_text(host.config_path.read_text().replace(f"{host.name}/../", ""))
    hang_up(host, STAYS)
    assert "another holdfast-agent runs with the state directory" in host.output()
    is_protected(fleet, host, "with another agent's state")

    (host.directory / "broken").mkdir()
    (host.directory / "broken/spool.db").write_text("this is no database, and long enough to be seen as none")
    configure(host, state="broken")
    hang_up(host, GOES_BACK)
    is_protected(fleet, host, "with a state that can't be opened")
    assert is_locked(host.directory / "state") and not is_locked(host.directory / "broken")

    configure(host)
    hang_up(host, GOES_ON)
    is_protected(fleet, host, "with the good one again")
    host.stop()
    neighbour.stop()


def test_a_changed_state_directory_is_made_and_locked_and_the_old_one_let_go(fleet):
    host = fleet.add_host("robot-moving")
    is_protected(fleet, host, "in the old place")
    configure(host, state="moved/here")
    hang_up(host, GOES_ON)
    is_protected(fleet, host, "in the new place")
    assert (host.directory / "moved/here/state.db").exists()
    assert is_locked(host.directory / "moved/here") and not is_locked(host.directory / "state")
    os.symlink(host.directory / "moved", host.directory / "link")  # the same directory by another name
    configure(host, state="link/here")
    hang_up(host, GOES_ON)
    is_protected(fleet, host, "by another name")
    assert is_locked(host.directory / "moved/here")
    host.stop()
