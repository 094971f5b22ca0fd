"""The simulated fleet against a real collector: what tests/bench/fleet measures is right before it is fast."""
import time

import pytest

from fleet import Fleet, now, tree_digest
from simulated_fleet import Load, enrol

AGENTS = 20


@pytest.fixture
def fleet():
    with Fleet() as made:
        enrol(made, made.directory / "identities", AGENTS)
        yield made


def load_of(fleet, *options):
    return Load(fleet, fleet.directory / "identities", AGENTS, "--mark-interval", "500", *options)


def check_all_there(fleet, load):
    """Every version that was sent is acknowledged, and the collector has it once."""
    load.drain()
    load.end()
    sequences = load.sequences()
    assert len(sequences) == AGENTS
    assert all(sent == acked > 0 for sent, acked in sequences.values())
    sources = {source["host_name"]: source for source in fleet.json("sources")["sources"]
               if source["host_name"].startswith("load-")}
    assert {name: source["committed_seq"] for name, source in sources.items()} == \
        {name: acked for name, (_, acked) in sequences.items()}
    assert {name: source["versions"] for name, source in sources.items()} == \
        {name: acked for name, (_, acked) in sequences.items()}
    name, (_, acked) = next(iter(sequences.items()))
    path = f"{name}:checkpoints/home/robot/.casare_rpa/checkpoints/agent_{name}.json"
    found = fleet.json("versions", path, "--limit", str(acked + 1))["versions"]
    assert [version["version"] for version in found] == list(range(acked, 0, -1))
    assert len({version["content"] for version in found}) == acked  # each is like no other
    return sum(acked for _, acked in sequences.values())


def test_what_a_fleet_sends_is_there_once(fleet):
    with load_of(fleet) as load:
        load.connect()
        load.say("rate 300")
        time.sleep(3)
        phase = load.phase("busy")
        assert phase["marks"] > 0
        assert phase["ack"]["count"] > 0
        total = check_all_there(fleet, load)
    assert fleet.json("status")["repository"]["versions"] == total


def test_versions_sent_in_one_frame_are_there_once(fleet):
    with load_of(fleet, "--batch", "16") as load:
        load.connect()
        load.say("burst 3200")
        check_all_there(fleet, load)


def test_a_fleet_comes_back_after_the_collector_was_killed_and_nothing_is_lost_or_doubled(fleet):
    with load_of(fleet, "--reconnect-max", "1000") as load:
        load.connect()
        load.say("rate 300")
        time.sleep(1)
        fleet.collector.kill()
        fleet.collector.start()
        load.say("storm")
        back = load.wait("back")
        assert back["open"]["count"] == back["protected"]["count"] == AGENTS
        load.say(f"drop {AGENTS // 2}")
        load.say("storm")
        load.wait("back")
        assert load.phase("storms")["cuts"] >= AGENTS + AGENTS // 2
        check_all_there(fleet, load)


def test_a_restore_in_the_midst_of_a_busy_fleet_brings_back_what_was_there(fleet):
    robot = fleet.add_host("robot", start=False)
    for i in range(100):
        robot.write(f"data/{i % 7}/{i}.json", f'{{"job": {i}}}' * (i + 1))
    robot.start()
    fleet.wait()
    moment = now()
    before = tree_digest(robot.root / "data")
    with load_of(fleet) as load:
        load.connect()
        load.say("rate 300")
        for i in range(100):
            robot.write(f"data/{i % 7}/{i}.json", "overwritten")
        fleet.wait()
        fleet.restore("robot:data", "--at", moment)
        load.phase("restored")
        check_all_there(fleet, load)
    assert tree_digest(robot.root / "data") == before


def test_an_idle_fleet_writes_nothing_to_the_disk_but_its_marks_now_and_then(fleet):
    with load_of(fleet) as load:
        load.connect()
        time.sleep(2)  # the first mark of each
        before = fleet.metrics()["holdfast_ingest_commits_total"]
        load.phase("first")
        time.sleep(4)
        marks = load.phase("idle")["marks"]
        commits = fleet.metrics()["holdfast_ingest_commits_total"] - before
        assert marks >= AGENTS
        assert commits < marks / 4
        load.end()
