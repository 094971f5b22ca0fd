"""What a real agent does with a collector that was taken over: it never writes outside the roots that
its own administrator allowed, runs nothing, and says what was wrong (promise 5).

The collector here is a Python program with a certificate of the right authority.
"""
import base64
import hashlib
import os
import random
import signal
import socket
import ssl
import struct
import subprocess
import threading
import time

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

import holdfast_wire as wire
from certificates import Authority
from fleet import Failed, Fleet, tree_digest, wait_until

SUCCEEDED, FAILED, CANCELLED = 1, 2, 3
CONTENT = b"what the operator wants back\n"


class Connection:
    """One agent's session, seen from the collector."""

    def __init__(self, tls):
        self.tls = tls
        self.buffer = b""
        self.sent_seq = 0
        self.upgrade()

    def upgrade(self):
        while b"\r\n\r\n" not in self.buffer:
            self.fill()
        head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        key = next(line.split(b":")[1].strip() for line in head.split(b"\r\n")
                   if line.lower().startswith(b"sec-websocket-key"))
        accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
        self.tls.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                         b"Sec-WebSocket-Accept: " + accept + b"\r\nSec-WebSocket-Protocol: "
                         + wire.SUBPROTOCOL.encode() + b"\r\n\r\n")

    def fill(self):
        data = self.tls.recv(65536)
        if not data:
            raise ConnectionError("the agent hung up")
        self.buffer += data

    def take(self, size):
        while len(self.buffer) - self.at < size:
            self.fill()
        self.at += size
        return self.buffer[self.at - size:self.at]

    def receive(self):
        """The next frame; pings are answered. After TimeoutError it can be asked for again."""
        self.at = 0
        message = self.receive_message()
        self.buffer = self.buffer[self.at:]
        return message

    def receive_message(self):
        message = b""
        while True:
            first, second = self.take(2)
            size = second & 0x7f
            if size == 126:
                size, = struct.unpack(">H", self.take(2))
            elif size == 127:
                size, = struct.unpack(">Q", self.take(8))
            mask = self.take(4) if second & 0x80 else bytes(4)
            data = self.take(size)
            key = (mask * (size // 4 + 1))[:size]
            data = (int.from_bytes(data, "big") ^ int.from_bytes(key, "big")).to_bytes(size, "big")
            if first & 0x0f == 8:
                raise ConnectionError("the agent said goodbye")
            if first & 0x0f == 9:
                self.send_raw(data, 0x8a)
            elif first & 0x0f < 8:
                message += data
                if first & 0x80:
                    return wire.decode(message)

    def send_raw(self, message, first=0x82):
        size = len(message)
        head = (struct.pack(">BB", first, size) if size < 126 else
                struct.pack(">BBH", first, 126, size) if size < 65536 else
                struct.pack(">BBQ", first, 127, size))
        self.tls.sendall(head + message)

    def send(self, name, /, **fields):
        self.sent_seq += 1
        self.send_raw(wire.encode(name, self.sent_seq, check=False, **fields))

    def send_values(self, kind, *values):
        self.sent_seq += 1
        self.send_raw(wire.pack([kind, self.sent_seq, *values]))


def no_listing(_after):
    return {"versions": [], "last": True}


class Collector:
    """Honest where `misdeed` is None: takes everything, and offers `offer` with `versions`."""

    def __init__(self, certificate, client_ca):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(str(certificate))
        self.context.verify_mode = ssl.CERT_REQUIRED
        self.context.load_verify_locations(str(client_ca))
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(0.05)
        self.port = self.listener.getsockname()[1]
        self.ended = False
        self.committed = {}
        self.job = 0
        self.plan = None
        self.misdeed = None
        self.dictionary = b""  # the id that it names
        self.dictionary_bytes = b"x"  # what it sends when it is asked for that
        self.dictionary_asked = 0
        self.forgetful = False  # with the next session it knows of nothing
        self.renew = None  # is asked for a certificate: renew(agent, request)
        self.listing = no_listing  # what it says it has after a path
        self.chunking = lambda: bytes(range(32))
        self.sessions = 0
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def close(self):
        self.ended = True
        self.thread.join()
        self.listener.close()

    def serve(self):
        while not self.ended:
            try:
                plain, _ = self.listener.accept()
            except TimeoutError:
                continue
            plain.settimeout(0.2)
            try:
                with self.context.wrap_socket(plain, server_side=True) as tls:
                    tls.settimeout(0.2)
                    self.session(Connection(tls))
            except (OSError, ssl.SSLError, wire.Malformed):
                plain.close()

    def session(self, agent):
        streams = {}
        self.sessions += 1
        offered = {}  # a job that was offered is answered for, also when the test is at the next one
        while not self.ended:
            plan = self.plan
            if plan and plan not in offered.values() and streams:
                offered[plan.offer["job"]] = plan
                agent.send("RESTORE_OFFER", **plan.offer)
            misdeed, self.misdeed = self.misdeed if streams else None, None if streams else self.misdeed
            if misdeed:
                misdeed(agent)
            try:
                frame = agent.receive()
            except TimeoutError:
                continue
            name = frame["frame"]
            if name == "HELLO":
                agent.send("WELCOME", version=1, capabilities=[], host="h", session=self.sessions,
                           now=time.time_ns(), credit=1 << 40, frame_max=1 << 20, ping_seconds=20,
                           chunking=self.chunking())
            elif name == "SOURCE":
                streams[frame["stream"]] = frame["name"]
                if self.forgetful:
                    self.committed.clear()
                    self.forgetful = False
                agent.send("SOURCE_STATE", stream=frame["stream"],
                           version_seq=self.committed.get(frame["name"], 0), files=0,
                           dictionary=self.dictionary)
            elif name == "HAVE":
                agent.send("NEED", request=frame["request"], bitmap=b"\xff" * ((len(frame["ids"]) // 32 + 7) // 8))
            elif name == "VERSIONS":
                seq = frame["versions"][-1]["version_seq"]
                self.committed[streams[frame["stream"]]] = seq
                agent.send("ACK", acks=[{"stream": frame["stream"], "version_seq": seq, "received": time.time_ns()}])
            elif name == "DICTIONARY_GET":
                self.dictionary_asked += 1
                agent.send("DICTIONARY", id=frame["id"], bytes=self.dictionary_bytes)
            elif name == "RENEW" and self.renew:
                self.renew(agent, frame["request"])
            elif name == "LIST":
                agent.send("LISTING", stream=frame["stream"], **self.listing(frame["after"]))
            elif name.startswith("RESTORE_") or name == "CHUNK_GET":
                if frame["job"] in offered:
                    offered[frame["job"]].answer(agent, frame)


class Plan:
    """A restore: what is offered, and the answers to the agent's questions."""

    def __init__(self, job, versions, content=(), **offer):
        self.offer = dict({"job": job, "source": "data", "origin_host": "", "at": time.time_ns(),
                           "destination": b"", "conflict": 1, "dry_run": False,
                           "files": len(versions), "bytes": 100, "expires": time.time_ns() + 10**12,
                           "paths": []}, **offer)
        self.versions = versions
        self.content = {block["chunks"][:32]: block for block in content}
        self.page = lambda cursor: {"versions": self.versions, "next_cursor": b"", "last": True}
        self.refusal = None
        self.results = []
        self.done = None

    def answer(self, agent, frame):
        name, job = frame["frame"], self.offer["job"]
        if name == "RESTORE_ANSWER" and not frame["accepted"]:
            self.refusal = frame["message"]
        elif name == "RESTORE_NEXT":
            agent.send("RESTORE_PAGE", job=job, **self.page(frame["cursor"]))
        elif name == "CHUNK_GET":
            ids = [frame["ids"][at:at + 32] for at in range(0, len(frame["ids"]), 32)]
            agent.send("CHUNKS", job=job, blocks=[self.content[one] for one in ids])
        elif name == "RESTORE_RESULT":
            self.results += frame["results"]
        elif name == "RESTORE_DONE":
            self.done = frame
            agent.send("RESTORE_DONE", **{k: v for k, v in frame.items() if k not in ("frame", "seq")})

    def over(self):
        return self.refusal is not None or self.done is not None


class Scene:
    """The agent, its collector, and a place that nobody may write to."""

    def __init__(self, fleet, directory):
        authority = Authority.of_collector(fleet.collector.directory)
        certificate = authority.issue(directory / "server.pem", "x", purpose=ExtendedKeyUsageOID.SERVER_AUTH,
                                      names=("localhost", "127.0.0.1"))
        self.collector = Collector(certificate, fleet.collector.directory / "ca/root.pem")
        self.host = fleet.add_host("robot-hostage", start=False)
        hook = self.host.directory / "hook"
        hook.write_text(f"#!/bin/sh\necho ran >> {self.host.directory}/hook-ran\n")
        hook.chmod(0o700)
        self.host.configure(self.host.source("data", restore_root=self.host.path("data")))
        settings = self.host.directory / "identity/identity.ini"
        settings.write_text("\n".join(
            f"collector = localhost:{self.collector.port}" if line.startswith("collector") else line
            for line in settings.read_text().splitlines()) + "\n")
        self.outside = self.host.directory / "outside"
        self.outside.mkdir()
        (self.outside / "passwd").write_text("root:x:0:0\n")
        self.host.write("data/kept", "kept\n")
        os.symlink(self.outside, self.host.path("data/way-out"))
        self.untouched = tree_digest(self.outside)
        self.host.start()
        wait_until(lambda: self.collector.committed.get("data"), "the first capture")

    def path(self, relative):
        """A path on the wire: absolute, without the leading slash."""
        return os.fsencode(str(self.host.path(relative)).lstrip("/"))

    def wait(self, condition, what):
        try:
            return wait_until(condition, what)
        except Failed as failure:
            raise Failed(f"{failure}\n{self.host.output()[-3000:]}") from failure

    def run(self, versions, content=(), **offer):
        self.collector.job += 1
        plan = Plan(self.collector.job, versions, content, **offer)
        self.collector.plan = plan
        self.wait(plan.over, "the restore to be refused or done")
        self.collector.plan = None
        return plan

    def run_or_hang_up(self, versions, content):
        """The same where the agent may also end the session; with what it logs."""
        self.collector.job += 1
        plan = Plan(self.collector.job, versions, content)
        sessions, before = self.collector.sessions, len(self.host.output())
        self.collector.plan = plan
        self.wait(lambda: plan.over() or self.collector.sessions > sessions, "the restore to be refused or done")
        self.collector.plan = None
        return plan, self.host.output()[before:]

    def check(self):
        """Nothing happened outside, and an honest restore still works."""
        assert self.host.running(), self.host.output()[-4000:]
        assert tree_digest(self.outside) == self.untouched
        assert not (self.host.directory / "hook-ran").exists()
        name = f"data/honest-{self.collector.job}"
        plan = self.run([wire.regular(1, self.path(name), [CONTENT])], [wire.chunk(CONTENT)])
        assert plan.done and plan.done["outcome"] == SUCCEEDED, (plan.refusal, plan.done)
        assert self.host.path(name).read_bytes() == CONTENT
        leftovers = [n for _, names, _ in os.walk(self.host.root) for n in names if n.startswith(".holdfast")]
        assert leftovers == []

    def close(self):
        self.host.stop(expect=None)
        self.collector.close()


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    with Fleet() as fleet:
        scene = Scene(fleet, tmp_path_factory.mktemp("hostile"))
        yield scene
        scene.close()


def as_bytes(path):
    return os.fsencode(str(path).lstrip("/"))


PATHS = {
    "up and out": lambda s: s.path("data/../../outside/passwd"),
    "up at the start": lambda s: b"../" * 20 + as_bytes(s.outside / "passwd"),
    "absolute": lambda s: b"/" + as_bytes(s.outside / "passwd"),
    "another place": lambda s: as_bytes(s.outside / "passwd"),
    "through a link that leads out": lambda s: s.path("data/way-out/passwd"),
    "beside the root, with its name as beginning": lambda s: s.path("data-evil"),
    "the root's parent": lambda s: s.path(""),
    "a NUL": lambda s: s.path("data") + b"/a\0b",
    "empty": lambda s: b"",
    "a dot": lambda s: s.path("data") + b"/./x",
    "two slashes": lambda s: s.path("data") + b"//x",
    "the staging directory": lambda s: s.path("data/.holdfast-restore-1/0/x"),
    "longer than a path can be": lambda s: s.path("data/" + "x/" * 3000),
}


def hang_up(_agent):
    raise ConnectionError("hung up")


def test_cuts_that_change_with_every_session_leave_nothing_out(scene):
    told = []

    def another():
        told.append(os.urandom(32))
        return told[-1]

    scene.collector.chunking = another
    content = bytearray(os.urandom(3 << 20))
    for turn in range(3):
        sessions = scene.collector.sessions
        scene.collector.misdeed = hang_up
        scene.wait(lambda: scene.collector.sessions > sessions and told[turn:], "the agent to come back")
        committed = scene.collector.committed["data"]  # of this session, not what the last one had under way
        content[turn * 1000] ^= 1
        scene.host.write("data/long", bytes(content))
        scene.wait(lambda: scene.collector.committed["data"] > committed, "the changed file to be captured")
    kept = scene.host.directory / "state/chunking"
    assert kept.read_bytes() == told[-1]
    assert kept.stat().st_mode & 0o7777 == 0o600
    scene.collector.chunking = lambda: bytes(range(32))
    scene.check()


@pytest.mark.parametrize("size", [0, 31])
def test_a_welcome_without_a_whole_secret_ends_the_session(scene, size):
    sessions = scene.collector.sessions
    scene.collector.chunking = lambda: bytes(size)
    scene.collector.misdeed = hang_up
    scene.wait(lambda: scene.collector.sessions > sessions + 1, "the agent to try again")
    scene.collector.chunking = lambda: bytes(range(32))
    scene.check()


@pytest.mark.parametrize("name", PATHS)
def test_a_path_that_is_not_allowed_is_never_written(scene, name):
    content = os.urandom(20)  # or the agent would find it at home
    plan, said = scene.run_or_hang_up([wire.regular(1, PATHS[name](scene), [content])], [wire.chunk(content)])
    if plan.done:
        assert plan.done["outcome"] == FAILED
        assert plan.done["message"] or plan.results[0]["message"], "it says why"
    else:  # no version has such a path: the agent hangs up
        assert "a frame of the collector can't be read: RESTORE_PAGE: Field 'path'" in said
    assert not os.path.lexists(str(scene.host.root) + "/data-evil")
    scene.check()


@pytest.mark.parametrize("destination", [b"/etc", b"/tmp", b"relative", b"/", b"ROOT/../outside", b"ROOT/data/way-out"])
def test_a_destination_outside_the_roots_is_refused_with_the_reason(scene, destination):
    destination = destination.replace(b"ROOT", os.fsencode(scene.host.root))
    plan = scene.run([wire.regular(1, scene.path("data/x"), [CONTENT])], [wire.chunk(CONTENT)],
                     destination=destination)
    if plan.refusal is None:  # a link on the way is seen when it is met
        assert plan.done["outcome"] == FAILED
        assert plan.done["message"] or plan.results[0]["message"]
    else:
        assert len(plan.refusal) > 20
    scene.check()


def test_another_hosts_files_are_refused_unless_this_host_allows_it(scene):
    plan = scene.run([wire.regular(1, scene.path("data/x"), [CONTENT])], [wire.chunk(CONTENT)],
                     origin_host="h-0123456789abcdef")
    assert "restore_from" in plan.refusal
    scene.check()


def test_nothing_is_restored_but_what_was_offered(scene):
    """What else is there was not captured for it."""
    kept = wire.regular(1, scene.path("data/kept"), [CONTENT])
    plan = scene.run([kept], [wire.chunk(CONTENT)], paths=[scene.path("data/kep"), scene.path("data/kept/x")])
    assert "did not offer" in plan.done["message"], plan.done
    assert scene.host.path("data/kept").read_text() == "kept\n"
    plan = scene.run([wire.regular(1, scene.path("data/offered/x"), [CONTENT])], [wire.chunk(CONTENT)],
                     paths=[scene.path("data/y"), scene.path("data/offered")])
    assert plan.done["outcome"] == 1, plan.done
    assert scene.host.path("data/offered/x").read_bytes() == CONTENT
    scene.check()


def test_a_hook_can_not_come_over_the_wire(scene):
    """Whatever the offer carries besides its fields is ignored."""
    hook = str(scene.host.directory / "hook")

    def offer(agent):
        scene.collector.job += 1
        agent.send_values(wire.TYPES["RESTORE_OFFER"], scene.collector.job, "data", "", time.time_ns(), b"", 1, False, 1,
                          10, time.time_ns() + 10**12, [], [hook], {"before_restore": hook}, hook)

    plan = Plan(scene.collector.job + 1, [wire.regular(1, scene.path("data/hooked"), [CONTENT])],
                [wire.chunk(CONTENT)])
    scene.collector.misdeed = lambda agent: (offer(agent), setattr(scene.collector, "plan", plan))
    scene.wait(plan.over, "the restore to end")
    scene.collector.plan = None
    scene.check()


def test_no_setuid_bit_comes_back(scene):
    plan = scene.run([wire.regular(1, scene.path("data/setuid"), [CONTENT], mode=0o6755)], [wire.chunk(CONTENT)])
    assert plan.done
    mode = scene.host.path("data/setuid").stat().st_mode if scene.host.path("data/setuid").exists() else 0
    assert mode & 0o6000 == 0
    scene.check()


LIES = {
    "other content": lambda truth: wire.chunk(truth, data=b"x" * len(truth)),
    "too short": lambda truth: wire.chunk(truth, data=truth[:-1], plain_size=len(truth) - 1),
    "a bomb": lambda truth: wire.chunk(truth, codec=wire.ZSTD, data=subprocess.run(
        ["zstd", "-19", "-c"], input=bytes(64 << 20), capture_output=True, check=True).stdout),
    "no zstd": lambda truth: wire.chunk(truth, codec=wire.ZSTD, data=b"nothing of the kind"),
}


@pytest.mark.parametrize("name", LIES)
def test_content_that_is_not_what_it_says_replaces_nothing(scene, name):
    truth = os.urandom(20)
    plan, said = scene.run_or_hang_up([wire.regular(1, scene.path("data/kept"), [truth])], [LIES[name](truth)])
    if plan.done:
        assert plan.done["outcome"] == FAILED
        assert "does not match its hash" in plan.results[0]["message"]
    else:
        assert "can't be read" in said or "hanging up" in said
    assert scene.host.path("data/kept").read_text() == "kept\n"
    scene.check()


def test_a_size_that_its_content_does_not_have_replaces_nothing(scene):
    truth = os.urandom(20)
    plan, said = scene.run_or_hang_up([wire.regular(1, scene.path("data/kept"), [truth], size=5)],
                                      [wire.chunk(truth)])
    assert not plan.done and "adds up to 20 bytes, but the size is 5" in said
    assert scene.host.path("data/kept").read_text() == "kept\n"
    scene.check()


MISDEEDS = {
    "an unknown frame": lambda agent: agent.send_values(99, 1, 2, 3),
    "no msgpack": lambda agent: agent.send_raw(b"\xc1\xc1"),
    "an array of four billion": lambda agent: agent.send_raw(b"\xdd\xff\xff\xff\xff"),
    "an ack of what was not sent": lambda agent: agent.send(
        "ACK", acks=[{"stream": 1, "version_seq": 1 << 40, "received": 1}]),
    "chunks missing of what was acknowledged": lambda agent: agent.send(
        "ERROR", code=wire.MISSING_CHUNKS, about=1, stream=1, version_seq=1, message="x", ids=bytes(32)),
    "chunks missing of version 0": lambda agent: agent.send(
        "ERROR", code=wire.MISSING_CHUNKS, about=1, stream=1, version_seq=0, message="x", ids=b""),
    "a gap that begins at 0": lambda agent: agent.send(
        "ERROR", code=wire.GAP, about=1, stream=1, version_seq=0, message="x", ids=b""),
    "an ack of no stream": lambda agent: agent.send(
        "ACK", acks=[{"stream": 900, "version_seq": 1, "received": 1}]),
    "an answer to nothing": lambda agent: agent.send("NEED", request=77, bitmap=b"\xff"),
    "a bitmap of the wrong length": lambda agent: agent.send("NEED", request=1, bitmap=b"\xff" * 900),
    "a frame that only agents send": lambda agent: agent.send("HAVE", request=1, ids=bytes(32)),
    "welcome again": lambda agent: agent.send(
        "WELCOME", version=1, capabilities=[], host="h", session=1, now=1, credit=1, frame_max=1, ping_seconds=1,
        chunking=bytes(32)),
    "frames out of order": lambda agent: agent.send_raw(wire.encode("CREDIT", 99, total=1)),
    "credit beyond all numbers": lambda agent: agent.send("CREDIT", total=(1 << 64) - 1),
    "a message of more than a MiB": lambda agent: agent.send_raw(bytes((1 << 20) + 1)),
    "text": lambda agent: agent.send_raw(b"hello", 0x81),
    "chunks that nobody asked for": lambda agent: agent.send("CHUNKS", job=1, blocks=[wire.chunk(b"x")]),
    "a page of no job": lambda agent: agent.send("RESTORE_PAGE", job=5, versions=[], next_cursor=b"", last=True),
    "a dictionary that was not asked for": lambda agent: agent.send("DICTIONARY", id=bytes(32), bytes=b"x"),
    "a dictionary's id of the wrong length": lambda agent: agent.send_values(4, 1, 0, 0, bytes(31)),
    "a certificate that was not asked for": lambda agent: agent.send("RENEWED", chain=b"-----BEGIN NOTHING"),
    "go away": lambda agent: agent.send("GOAWAY", code=wire.OVERLOADED, retry_after_ms=100, message="x"),
}


@pytest.mark.parametrize("name", MISDEEDS)
def test_frames_that_may_not_be_harm_nothing(scene, name):
    scene.collector.misdeed = MISDEEDS[name]
    scene.wait(lambda: scene.collector.misdeed is None, "the misdeed")
    scene.check()


@pytest.mark.parametrize("bytes_", [b"not what the id says", b"no dictionary of zstd's"])
def test_a_dictionary_that_is_none_or_another_is_not_used_and_nothing_is_left_out(scene, bytes_):
    collector, before = scene.collector, len(scene.host.output())
    collector.dictionary = hashlib.sha256(b"no dictionary of zstd's").digest()
    collector.dictionary_bytes = bytes_
    asked, committed = collector.dictionary_asked, collector.committed["data"]
    collector.misdeed = hang_up  # the next session names it
    scene.wait(lambda: collector.misdeed is None, "the session's end")
    number = 0
    while collector.dictionary_asked == asked and number < 200:
        scene.host.write(f"data/small-{number}", f"small {number}\n" * 9)
        number += 1
        time.sleep(0.3)
    scene.wait(lambda: "other bytes than dictionary" in scene.host.output()[before:], "the agent to complain")
    collector.dictionary = b""
    collector.misdeed = hang_up
    scene.wait(lambda: collector.committed["data"] >= committed + number, "all to be captured")
    scene.check()


def test_no_collector_sends_a_host_away_for_long(scene):
    before = len(scene.host.output())
    scene.collector.misdeed = lambda agent: agent.send("GOAWAY", code=wire.OVERLOADED, retry_after_ms=2**32 - 1,
                                                       message="come back in seven weeks")
    scene.wait(lambda: "seven weeks" in scene.host.output()[before:], "the agent to say when it tries again")
    said = next(line for line in scene.host.output()[before:].splitlines() if "seven weeks" in line)
    assert "trying again in 10 min" in said
    os.kill(scene.host.pid, signal.SIGHUP)  # the host's administrator need not wait even for that
    scene.check()


def as_listed(scene, *names):
    return [wire.regular(0, scene.path("data/" + name), [CONTENT]) for name in names]


LISTINGS = {
    "nothing, and not the last": lambda s, after: [],
    "the same again": lambda s, after: as_listed(s, "a"),
    "backwards": lambda s, after: as_listed(s, "m") if not after else as_listed(s, "c"),
    "a path and what it begins with": lambda s, after: as_listed(s, "ab") if not after else as_listed(s, "a"),
}


@pytest.mark.parametrize("name", LISTINGS)
def test_a_list_that_does_not_go_on_is_not_believed(scene, name):
    asked = []

    def listing(after):
        asked.append(after)
        if len(asked) < 4:
            return {"versions": LISTINGS[name](scene, after), "last": False}
        return {"versions": [], "last": True}

    before = len(scene.host.output())
    scene.collector.listing = listing
    scene.collector.forgetful = True
    scene.collector.misdeed = lambda agent: agent.send("GOAWAY", code=wire.SHUTDOWN, retry_after_ms=1, message="x")
    scene.wait(lambda: "does not go on, or has no end (LISTING)" in scene.host.output()[before:],
               "the agent to hang up")
    scene.collector.listing = no_listing
    scene.check()
    assert scene.collector.committed["data"] > 0


PAGES = {
    "no cursor": lambda cursor: b"",
    "the same cursor for ever": lambda cursor: b"again",
}


@pytest.mark.parametrize("name", PAGES)
def test_pages_that_do_not_go_on_end_the_restore(scene, name):
    scene.collector.job += 1
    plan = Plan(scene.collector.job, [])
    plan.page = lambda cursor: {"versions": [], "next_cursor": PAGES[name](cursor), "last": False}
    scene.collector.plan = plan
    scene.wait(plan.over, "the restore to end")
    scene.collector.plan = None
    assert plan.done["outcome"] == FAILED and "does not go on" in plan.done["message"]
    scene.check()


def test_a_restore_that_is_offered_by_a_collector_that_forgot_everything_gets_through(scene):
    """The agent first hands over again what the collector lacks: that is the way back."""
    scene.collector.forgetful = True
    scene.collector.misdeed = lambda agent: agent.send("GOAWAY", code=wire.SHUTDOWN, retry_after_ms=1, message="x")
    scene.wait(lambda: not scene.collector.forgetful, "the next session")
    plan = scene.run([wire.regular(1, scene.path("data/after-loss"), [CONTENT])], [wire.chunk(CONTENT)])
    assert plan.done and plan.done["outcome"] == SUCCEEDED, (plan.refusal, plan.done)
    assert scene.collector.committed["data"] > 0
    scene.check()


def test_random_frames_harm_nothing(scene):
    dice = random.Random(7)
    for _ in range(8):
        def misdeed(agent):
            for _ in range(20):
                kind = dice.choice(list(wire.FRAMES))
                agent.send_values(kind, *[dice.choice([0, 1, -1, 1 << 63, "text", b"bytes", [], [[]], True, None,
                                                       {"a": 1}]) for _ in range(dice.randrange(12))])
        scene.collector.misdeed = misdeed
        scene.wait(lambda: scene.collector.misdeed is None, "the misdeed")
    scene.check()
