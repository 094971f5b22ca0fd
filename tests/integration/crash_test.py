"""Crashes: what was acknowledged survives, nothing is doubled, a lost catalog comes back."""
import json
import os
import random
import shutil
import time

from fleet import Fleet, now, tree_digest, wait_until


def versions_of(fleet, host, relative):
    return fleet.json("versions", host.target("data", relative), "--limit", "0")["versions"]


def test_a_collector_killed_again_and_again_loses_nothing_it_acknowledged_and_doubles_nothing():
    rng = random.Random(7)
    with Fleet() as fleet:
        host = fleet.add_host("robot")
        fleet.wait()
        acknowledged = []
        for step in range(6):
            text = json.dumps({"step": step, "pad": "x" * rng.randint(0, 3000)})
            host.write("data/checkpoint.json", text)
            host.write(f"data/part-{step}.bin", rng.randbytes(rng.randint(1, 400_000)))
            if step % 2 == 0:
                fleet.wait()
                acknowledged.append((now(), text))
            else:
                time.sleep(rng.random() * 0.15)
            fleet.collector.kill()
            time.sleep(0.05)
            fleet.collector.start()
        fleet.wait()
        target = host.target("data", "data/checkpoint.json")
        for moment, text in acknowledged:
            assert fleet.cli("cat", target, "--at", moment) == text
        contents = [v["content"] for v in reversed(versions_of(fleet, host, "data/checkpoint.json"))]
        assert all(a != b for a, b in zip(contents, contents[1:])), "a version was recorded twice"
        assert fleet.json("audit", "verify")["intact"]
        for step in range(6):
            assert len(versions_of(fleet, host, f"data/part-{step}.bin")) == 1


def test_an_agent_killed_again_and_again_protects_everything_in_the_end_and_doubles_nothing():
    rng = random.Random(11)
    with Fleet() as fleet:
        host = fleet.add_host("robot")
        for step in range(6):
            for i in range(20):
                host.write(f"data/{step}/{i}.bin", rng.randbytes(rng.randint(0, 50_000)))
            time.sleep(rng.random() * 0.3)
            host.kill()
            host.start()
        fleet.wait()
        moment = now()
        before = tree_digest(host.path("data"))
        for step in range(6):
            for i in range(0, 20, 7):
                assert len(versions_of(fleet, host, f"data/{step}/{i}.bin")) <= 2
                contents = [v["content"] for v in versions_of(fleet, host, f"data/{step}/{i}.bin")]
                assert len(set(contents)) == len(contents)
        shutil.rmtree(host.path("data"))
        host.path("data").mkdir()
        fleet.restore("robot:data", "--at", moment)
        assert tree_digest(host.path("data")) == before


def test_a_lost_catalog_is_rebuilt_from_the_packs_alone():
    with Fleet() as fleet:
        host = fleet.add_host("robot", labels=("room=1",))
        for i in range(3):
            host.write("data/f", f"state {i}")
            host.write(f"data/more/{i}", "x" * i)
            fleet.wait()
        fleet.cli("snapshot", "create", "robot:data", "--name", "kept", "--hold")
        fleet.restore("robot:data")
        host.stop()
        fleet.cli("token", "create", "--role", "viewer", "--name", "somebody")
        def picture():
            answers = [fleet.json("sources"), fleet.json("versions", host.target("data", "data/f")),
                       fleet.json("snapshot", "list"), fleet.json("jobs", "--all"),
                       fleet.json("token", "list"), fleet.json("audit", "--limit", "0"),
                       fleet.json("ls", "robot:data", "--recursive")]
            return answers
        before = picture()
        fleet.collector.stop()
        for path in fleet.collector.directory.glob("catalog.db*"):
            path.unlink()
        fleet.collector.start()
        after = picture()
        for old, new in zip(before, after):
            for rows in (old, new):
                for source in rows.get("sources", []):
                    source.pop("protected_until", None)
                    source.pop("state", None)
                    source.pop("late", None)
        assert after == before
        host.path("data/f").unlink()
        host.start()
        fleet.wait()
        fleet.restore("robot:data", "--at", before[1]["versions"][0]["at"])
        assert host.path("data/f").read_text() == "state 2"


def test_lost_agent_state_is_made_up_from_the_collector_and_doubles_nothing():
    with Fleet() as fleet:
        host = fleet.add_host("robot")
        host.write("data/kept", "kept")
        gone = host.write("data/gone", "gone")
        fleet.wait()
        host.stop()
        shutil.rmtree(host.directory / "state")
        (host.directory / "state").mkdir()
        gone.unlink()
        host.start()
        fleet.wait()
        assert len(versions_of(fleet, host, "data/kept")) == 1
        kinds = [v["type"] for v in versions_of(fleet, host, "data/gone")]
        assert kinds == ["absent", "file"]


def test_versions_made_while_the_collector_was_away_arrive_in_order():
    with Fleet() as fleet:
        host = fleet.add_host("robot")
        host.write("data/checkpoint", "0")
        fleet.wait()
        fleet.collector.stop()
        for step in range(1, 5):
            host.write("data/checkpoint", f"offline {step}")
            time.sleep(0.6)
        host.kill()  # the spool is on disk
        fleet.collector.start()
        host.start()
        wait_until(lambda: len(versions_of(fleet, host, "data/checkpoint")) >= 5, "the spooled versions")
        fleet.wait()
        rows = list(reversed(versions_of(fleet, host, "data/checkpoint")))
        texts = [fleet.cli("cat", host.target("data", "data/checkpoint"), "--version", str(row["version"]))
                 for row in rows]
        assert texts == ["0"] + [f"offline {step}" for step in range(1, 5)]


def test_a_damaged_pack_is_noticed_and_named():
    with Fleet() as fleet:
        host = fleet.add_host("robot")
        host.write("data/f", os.urandom(100_000))
        fleet.wait()
        fleet.collector.stop()
        packs = sorted((fleet.collector.directory / "repository/packs").iterdir())
        largest = max(packs, key=lambda path: path.stat().st_size)
        with open(largest, "r+b") as handle:
            handle.seek(largest.stat().st_size // 2)
            byte = handle.read(1)
            handle.seek(-1, os.SEEK_CUR)
            handle.write(bytes([byte[0] ^ 1]))
        fleet.collector.start()
        result = fleet.cli("cat", host.target("data", "data/f"), check=False, text=False)
        assert result.returncode != 0
        assert "damaged" in fleet.collector.output()


def test_a_restore_outlives_both_its_ends():
    """Agent and collector are killed again and again while a tree is restored."""
    with Fleet() as fleet:
        dice = random.Random(5)
        host = fleet.add_host("robot-restore", start=False)
        for i in range(4000):
            host.write(f"data/{i % 40}/{i}", dice.randbytes(dice.randrange(4000)))
        for i in range(8):
            host.write(f"data/large-{i}", dice.randbytes(4_000_000))
        host.start()
        fleet.wait()
        before = tree_digest(host.path("data"))
        moment = now()
        shutil.rmtree(host.path("data"))
        fleet.wait()
        job = str(fleet.json("restore", "robot-restore:data", "--at", moment, "--no-wait")["id"])
        for number in range(6):
            time.sleep(dice.uniform(0.05, 0.5))
            process = [host, fleet.collector][number % 2]
            process.kill()
            process.start()
        wait_until(lambda: fleet.json("job", "show", job)["state"] not in ("waiting", "running"), "the job to end", 120)
        shown = fleet.json("job", "show", job)
        assert shown["state"] == "succeeded", shown
        assert tree_digest(host.path("data")) == before
        assert not [n for _, names, _ in os.walk(host.root) for n in names if n.startswith(".holdfast")]
