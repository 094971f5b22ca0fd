"""What an agent makes of its configuration: the presets' sources, what `check` says, and what happens when
it changes while the agent runs."""
import pytest

from fleet import Fleet


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
