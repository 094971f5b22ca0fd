"""Dictionaries: what several hosts' small files have in common is learned, used, and never a host's secrets."""
import json
import shutil
import sqlite3

from fleet import Fleet, now, tree_digest, wait_until

HOSTS = 4
FILES = 120
SECRET = "token-of-one-host-alone-fedcba9876543210"


def workflow(host, number):
    """A small file of a kind of which there are many. Those of the first host hold its secret."""
    settings = {"workflow": "import-of-orders", "step": number, "state": "waiting for input",
                "retries": {"allowed": 5, "left": number % 5}, "owner": "robot",
                "checkpoint": f"/var/lib/casare/checkpoints/{number * 2654435761 % 2**32:08x}.json", "host": host}
    if host == 0:
        settings["key"] = SECRET
    return json.dumps(settings, indent=1) + "\n"


def device(host, number):
    """One of another kind, from the day on which the robots do something else."""
    return (f"<device id='{number}' host='{host}'><firmware channel='stable' auto='true'/>"
            "<network mode='static' mask='255.255.255.0' vlan='untagged'/><motion acceleration='gentle' jerk='limited' "
            f"homing='power-up'/><calibration axis='z' offset='{number * 2654435761 % 2**32:08x}'/></device>\n")


def catalog(fleet, sql):
    path = fleet.collector.directory / "catalog.db"
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


def dictionaries(fleet):
    return catalog(fleet, "SELECT class, bytes FROM dictionaries ORDER BY row")


def stored_bytes(fleet):
    return catalog(fleet, "SELECT stored_bytes FROM totals")[0][0]


def write_wave(fleet, hosts, first, count, content=workflow):
    """Small files, one at a time on each host; returns what they take in the packs."""
    before = stored_bytes(fleet)
    for step in range(first, first + count):
        for number, host in enumerate(hosts):
            host.write(f"data/wave/{step:04}.json", content(number, step * HOSTS + number))
        fleet.wait()
    return stored_bytes(fleet) - before


def add_hosts(fleet):
    """Hosts that have what there is to learn from."""
    hosts = []
    for number in range(HOSTS):
        host = fleet.add_host(f"robot-{number}", start=False)
        for i in range(FILES):
            host.write(f"data/flows/{i:04}.json", workflow(number, 100_000 + number * FILES + i))
        host.start()
        hosts.append(host)
    fleet.wait()
    return hosts


def test_small_files_take_less_room_once_a_dictionary_was_trained_and_come_back_as_they_were():
    with Fleet("[dictionaries]\ninterval = 0s\n") as fleet:
        hosts = add_hosts(fleet)
        without = write_wave(fleet, hosts, 0, 10)
        assert dictionaries(fleet) == []
        fleet.collector.stop()
        fleet.collector.configure("[dictionaries]\ninterval = 1s\n")
        fleet.collector.start()
        [(name, content)] = wait_until(lambda: dictionaries(fleet), "a dictionary")
        assert name == "config"
        assert b"waiting for input" in content
        for i in range(len(SECRET) - 8):
            assert SECRET[i:i + 8].encode() not in content, "a secret of one host is in it"
        # Agents that stayed connected are told; the first small file makes them fetch it.
        write_wave(fleet, hosts, 10, 2)
        with_dictionary = write_wave(fleet, hosts, 12, 10)
        assert with_dictionary < without * 3 / 4, (with_dictionary, without)

        fleet.wait()
        moment = now()
        before = {host.name: tree_digest(host.path("data")) for host in hosts}

        # What robots do changes: the dictionary doesn't pay any more, and gets a successor, beside which it stays.
        old_kind = write_wave(fleet, hosts, 30, 5, device)
        for number, host in enumerate(hosts):
            shutil.rmtree(host.path("data/flows"))
            for i in range(FILES):
                host.write(f"data/devices/{i:04}.xml", device(number, 100_000 + number * FILES + i))
        fleet.wait()
        wait_until(lambda: b"firmware channel" in dictionaries(fleet)[-1][1], "a dictionary of the new kind")
        write_wave(fleet, hosts, 40, 2, device)
        new_kind = write_wave(fleet, hosts, 50, 5, device)
        assert new_kind < old_kind * 3 / 4, (new_kind, old_kind)
        later = now()
        after = {host.name: tree_digest(host.path("data")) for host in hosts}
        trained = dictionaries(fleet)
        assert trained[0] == (name, content) and len(trained) >= 2

        fleet.collector.kill()
        for path in fleet.collector.directory.glob("catalog.db*"):
            path.unlink()
        fleet.collector.start()
        assert dictionaries(fleet)[:len(trained)] == trained, "they were not found again in the packs"
        for host in hosts:
            shutil.rmtree(host.path("data"))
            host.path("data").mkdir()
            fleet.restore(f"{host.name}:data", "--at", moment)
            assert tree_digest(host.path("data")) == before[host.name]
        shutil.rmtree(hosts[1].path("data"))
        hosts[1].path("data").mkdir()
        fleet.restore(f"{hosts[1].name}:data", "--at", later)
        assert tree_digest(hosts[1].path("data")) == after[hosts[1].name]
        assert fleet.cli("cat", hosts[2].target("data", "data/wave/0015.json"), "--at", moment) \
            == workflow(2, 15 * HOSTS + 2)
        assert fleet.json("audit", "verify")["intact"]
