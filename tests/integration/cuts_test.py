"""Connections that are cut, stalled and half-closed at random points: nothing acknowledged is lost,
nothing comes twice, and what is restored is what was there.

The agent reaches the collector through a proxy of the test's own. Every run draws a new seed and
prints it; HOLDFAST_SEED repeats one.
"""
import os
import random
import select
import shutil
import socket
import subprocess
import threading
import time

import pytest

from fleet import Fleet, now, tree_digest, wait_until

SEED = int(os.environ.get("HOLDFAST_SEED", random.SystemRandom().randrange(1 << 32)))


class Proxy:
    """Passes bytes on between agents and the collector, and does a connection harm after a while."""

    def __init__(self, target, dice):
        self.target = target
        self.dice = dice
        self.harm = True
        self.pace = None  # bytes a second, of each direction
        self.cuts = 0
        self.ended = threading.Event()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(0.05)
        self.port = self.listener.getsockname()[1]
        self.threads = [threading.Thread(target=self.accept)]
        self.threads[0].start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.ended.set()
        for thread in self.threads:
            thread.join()
        self.listener.close()

    def accept(self):
        while not self.ended.is_set():
            try:
                client, _ = self.listener.accept()
            except TimeoutError:
                continue
            # Log-uniform: some die in the handshake, most after it, some after megabytes.
            budget = int(10 ** self.dice.uniform(3.5, 6.5)) if self.harm else None
            kind = self.dice.choice(["cut", "reset", "half-close", "stall"])
            thread = threading.Thread(target=self.carry, args=(client, budget, kind))
            self.threads.append(thread)
            thread.start()

    def carry(self, client, budget, kind):
        with client, socket.create_connection(self.target) as server:
            other = {client: server, server: client}
            open_ends = [client, server]
            while open_ends and not self.ended.is_set():
                readable, _, _ = select.select(open_ends, [], [], 0.05)
                for end in readable:
                    try:
                        data = end.recv(65536)
                        if self.pace:
                            time.sleep(len(data) / self.pace)
                        if not data:
                            open_ends.remove(end)
                            other[end].shutdown(socket.SHUT_WR)
                            continue
                        cut = budget is not None and self.harm and len(data) >= budget
                        other[end].sendall(data[:budget] if cut else data)
                    except OSError:
                        return
                    if budget is not None:
                        budget -= len(data)
                    if cut:
                        self.cuts += 1
                        self.hurt(kind, client, server)
                        return

    def hurt(self, kind, client, server):
        if kind == "reset":
            for end in (client, server):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        elif kind == "half-close":
            server.shutdown(socket.SHUT_WR)
            self.ended.wait(0.2)
        elif kind == "stall":
            self.ended.wait(0.5)


@pytest.fixture(scope="module")
def fleet():
    with Fleet() as fleet:
        yield fleet


@pytest.fixture()
def proxy(fleet):
    print(f"HOLDFAST_SEED={SEED}")
    with Proxy(("127.0.0.1", int(fleet.collector.ports["agents"])), random.Random(SEED)) as proxy:
        yield proxy


def behind(fleet, proxy, name):
    """A host whose agent knows the proxy as its collector."""
    ports = dict(fleet.collector.ports)
    host = fleet.add_host(name, start=False)
    for path in (host.directory / "identity").iterdir():
        text = path.read_bytes()
        path.write_bytes(text.replace(f":{ports['agents']}".encode(), f":{proxy.port}".encode()))
    return host


def make_tree(host, dice):
    for i in range(1500):
        host.write(f"data/{i % 30}/{i}.json", dice.randbytes(dice.randrange(3000)))
    for i in range(6):
        host.write(f"data/large-{i}", dice.randbytes(3_000_000))


def cuts_happen(proxy, least, condition):
    """Until the condition holds and that many connections were cut; then the line is good again."""
    wait_until(lambda: proxy.cuts >= least or condition(), "connections to be cut", 120)


def test_a_capture_over_a_line_that_keeps_breaking_is_complete_and_doubles_nothing(fleet, proxy):
    dice = random.Random(SEED)
    host = behind(fleet, proxy, "robot-cuts")
    make_tree(host, dice)
    host.start()
    for round_number in range(5):
        cuts_happen(proxy, round_number + 1, lambda: False)
        host.write("data/checkpoint.json", f'{{"round": {round_number}}}')
        time.sleep(0.3)
    proxy.harm = False
    fleet.wait(120)
    fleet.cli("download", "robot-cuts:data", "--output", fleet.directory / "cuts.tar")
    copy = fleet.directory / "copy"
    copy.mkdir()
    subprocess.run(["tar", "-xpf", fleet.directory / "cuts.tar", "-C", copy], check=True)
    assert tree_digest(copy / str(host.path("data")).lstrip("/")) == tree_digest(host.path("data"))
    for relative in ("data/0/0.json", "data/large-0"):
        versions = fleet.versions(host, "data", relative)
        assert len(versions) == 1, versions
    contents = [v["content"] for v in fleet.versions(host, "data", "data/checkpoint.json")]
    assert len(contents) == len(set(contents)) <= 5
    host.stop()
    shutil.rmtree(copy)


def test_a_restore_over_a_line_that_keeps_breaking_gets_through(fleet, proxy):
    host = behind(fleet, proxy, "robot-broken")
    make_tree(host, random.Random(SEED + 1))
    proxy.harm = False
    host.start()
    fleet.wait(120)
    before = tree_digest(host.path("data"))
    moment = now()
    shutil.rmtree(host.path("data"))
    fleet.wait()
    host.stop()
    proxy.harm = True
    host.start()
    job = fleet.json("restore", "robot-broken:data", "--at", moment, "--no-wait")

    def over():
        return fleet.json("job", "show", str(job["id"]))["state"] not in ("waiting", "running")

    cuts_happen(proxy, 4, over)
    proxy.harm = False
    wait_until(over, "the restore to end", 120)
    job = fleet.json("job", "show", str(job["id"]))
    assert job["state"] == "succeeded", job
    assert proxy.cuts >= 1
    assert tree_digest(host.path("data")) == before
    leftovers = [name for _, names, _ in os.walk(host.root) for name in names if name.startswith(".holdfast")]
    assert leftovers == []
    host.stop()


def test_a_checkpoint_does_not_wait_for_a_large_file_on_a_slow_line(fleet, proxy):
    proxy.harm = False
    host = behind(fleet, proxy, "robot-slow")
    host.path("bulk").mkdir()
    host.configure(host.source("bulk", class_="workflows") + host.source("points", class_="checkpoints"))
    host.write("points/checkpoint.json", "{}")
    host.start()
    fleet.wait()
    proxy.pace = 4_000_000
    host.write("bulk/image", random.Random(SEED).randbytes(64_000_000))
    for step in range(3):
        time.sleep(0.5)
        host.write("points/checkpoint.json", f'{{"step": {step}}}')
        wait_until(lambda: len(fleet.versions(host, "points", "points/checkpoint.json")) >= step + 2,
                   "the checkpoint to be durable")
        status = fleet.cli("versions", host.target("bulk", "bulk/image"), check=False)
        assert status.returncode != 0, "the large file came first"
    proxy.pace = None
    fleet.wait(120)
    assert len(fleet.versions(host, "bulk", "bulk/image")) == 1
    host.stop()
