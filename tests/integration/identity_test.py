"""Who gets in and who does not, against a real collector and real agents."""
import contextlib
import os
import pathlib
import shutil
import socket
import ssl
import struct
import time
import warnings

import msgpack
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID

from certificates import Authority
from fleet import AGENT, Fleet, run, wait_until

HELLO, WELCOME, GOAWAY = 1, 2, 13
MALFORMED, DENIED, DUPLICATE, REVOKED, EXPIRED = 1, 10, 11, 12, 20
GARBAGE = b"\xc1 this is no frame"
REFUSED_CERTIFICATES = 'holdfast_sessions_refused_total{reason="certificate"}'


# --- a client of the wire protocol, as small as can be ---

class Refused(Exception):
    """The connection ended before it was a WebSocket."""


class Client:
    def __init__(self, fleet, certificate, host="localhost", sni=True):
        context = ssl.create_default_context(
            cafile=str(fleet.collector.directory / "ca/root.pem"))
        context.check_hostname = False  # by SNI or not, the collector is the same
        if certificate:
            context.load_cert_chain(str(certificate))
        port = int(fleet.collector.ports["agents"])
        plain = socket.create_connection((host, port), timeout=20)
        try:
            self.socket = context.wrap_socket(plain, server_hostname=host if sni else None)
            self.received = b""
            self.upgrade(f"{host}:{port}")
        except (ssl.SSLError, ConnectionError) as error:
            plain.close()
            raise Refused(str(error)) from error

    def upgrade(self, host):
        self.socket.sendall(
            f"GET /v1/agent HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: holdfast.v1\r\n\r\n".encode())
        while b"\r\n\r\n" not in self.received:
            self.receive()
        head, self.received = self.received.split(b"\r\n\r\n", 1)
        if not head.startswith(b"HTTP/1.1 101"):
            raise Refused(head.decode(errors="replace"))

    def receive(self):
        data = self.socket.recv(65536)
        if not data:
            raise ConnectionError("the collector hung up")
        self.received += data

    def send(self, message):
        """One masked binary message (RFC 6455); the mask is zero."""
        length = len(message)
        size = (bytes([0x80 | length]) if length < 126
                else b"\xfe" + struct.pack(">H", length) if length < 65536
                else b"\xff" + struct.pack(">Q", length))
        self.socket.sendall(b"\x82" + size + bytes(4) + message)

    def hello(self, instance=None):
        self.send(msgpack.packb([HELLO, 1, 1, 1, [], "test", "test", "machine", "linux",
                                 time.time_ns(), instance or os.urandom(16)]))

    def frame(self):
        """The next frame; pings and other control messages are passed over."""
        while True:
            while len(self.received) < 2:
                self.receive()
            opcode, length, start = self.received[0] & 15, self.received[1] & 127, 2
            if length == 126:
                start = 4
            elif length == 127:
                start = 10
            while len(self.received) < start:
                self.receive()
            if start > 2:
                length = int.from_bytes(self.received[2:start], "big")
            while len(self.received) < start + length:
                self.receive()
            message = self.received[start:start + length]
            self.received = self.received[start + length:]
            if opcode == 8:
                raise ConnectionError("the collector said goodbye")
            if opcode == 2:
                return msgpack.unpackb(message, raw=True, strict_map_key=False)

    def goaway(self):
        """(code, message) with which the session ends."""
        while True:
            frame = self.frame()
            if frame[0] == GOAWAY:
                text = [part for part in frame[2:] if isinstance(part, bytes)]
                return frame[2], text[0].decode()

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def audit(fleet, action):
    return [entry for entry in fleet.json("audit", "--limit", "500")["entries"]
            if entry["action"] == action]


def host_of(fleet, name):
    return next(host for host in fleet.json("hosts")["hosts"] if name in (host["name"], host["id"]))


@pytest.fixture(scope="module")
def fleet():
    with Fleet() as fleet:
        yield fleet


@pytest.fixture(scope="module")
def enrolled(fleet):
    """An enrolled host whose agent does not run: its certificate is used by the tests."""
    return fleet.add_host("robot-certified", start=False)


@pytest.fixture()
def issuing(fleet):
    return Authority.of_collector(fleet.collector.directory)


def identity_of(host):
    return host.directory / "identity/agent.pem"


# --- the refusal matrix ---

WAYS = [("localhost", True), ("localhost", False), ("127.0.0.1", True), ("127.0.0.1", False)]


@pytest.mark.parametrize("host,sni", WAYS)
def test_an_enrolled_host_gets_in_and_its_frames_are_read(fleet, enrolled, host, sni):
    """The control of all refusals: what is refused below is refused for its certificate."""
    with Client(fleet, identity_of(enrolled), host, sni) as client:
        client.hello()
        assert client.frame()[0] == WELCOME
    with Client(fleet, identity_of(enrolled), host, sni) as client:
        client.send(GARBAGE)
        assert client.goaway()[0] == MALFORMED


def no_certificate(place, issuing, host_id):
    return None


def of_another_authority(place, issuing, host_id):
    return Authority.made_up().issue(place / "x.pem", host_id)


def of_an_authority_with_the_same_names(place, issuing, host_id):
    return Authority.made_up("Holdfast issuing").issue(place / "x.pem", host_id)


def expired(place, issuing, host_id):
    return issuing.issue(place / "x.pem", host_id, begins=-3600, ends=-2)


def not_yet_valid(place, issuing, host_id):
    return issuing.issue(place / "x.pem", host_id, begins=3600, ends=7200)


def a_servers(place, issuing, host_id):
    return issuing.issue(place / "x.pem", host_id, purpose=ExtendedKeyUsageOID.SERVER_AUTH)


def signed_by_itself(place, issuing, host_id):
    key = Authority.made_up(host_id)
    pem = serialization.Encoding.PEM
    path = place / "x.pem"
    path.write_bytes(key.key.private_bytes(pem, serialization.PrivateFormat.TraditionalOpenSSL,
                                           serialization.NoEncryption())
                     + key.certificate.public_bytes(pem))
    return path


def signed_by_a_host(place, issuing, host_id):
    path = issuing.issue(place / "host.pem", host_id)
    text = path.read_bytes()
    host = Authority(serialization.load_pem_private_key(text, None),
                     x509.load_pem_x509_certificate(text[text.index(b"-----BEGIN CERT"):]))
    forged = host.issue(place / "x.pem", "h-ffffffffffffffff")
    with open(forged, "ab") as handle:
        handle.write(issuing.certificate.public_bytes(serialization.Encoding.PEM))
    return forged


@pytest.mark.parametrize("host,sni", WAYS)
@pytest.mark.parametrize("make", [no_certificate, of_another_authority,
                                  of_an_authority_with_the_same_names, expired, not_yet_valid,
                                  a_servers, signed_by_itself, signed_by_a_host])
def test_a_certificate_that_is_not_good_does_not_even_become_a_websocket(
        fleet, enrolled, issuing, tmp_path, make, host, sni):
    certificate = make(tmp_path, issuing, host_of(fleet, "robot-certified")["id"])
    before = fleet.metrics()[REFUSED_CERTIFICATES]
    with pytest.raises(Refused):
        with Client(fleet, certificate, host, sni):
            pass
    assert fleet.collector.running()
    wait_until(lambda: fleet.metrics()[REFUSED_CERTIFICATES] == before + 1, "it to be counted")


def test_why_certificates_are_refused_is_told_without_filling_the_log(tmp_path):
    with Fleet() as fleet:
        fleet.add_host("robot-asleep", start=False)
        host_id = host_of(fleet, "robot-asleep")["id"]
        ours = Authority.of_collector(fleet.collector.directory)
        for make, authority, reason in ((no_certificate, ours, "shows no certificate"),
                                        (expired, ours, "expired"),
                                        (of_another_authority, ours, "signature failure")):
            with pytest.raises(Refused):
                Client(fleet, make(tmp_path, authority, host_id))
            wait_until(lambda: reason in fleet.collector.output(), f"'{reason}' in the log")
        for _ in range(12):
            with pytest.raises(Refused):
                Client(fleet, expired(tmp_path, ours, host_id))
        wait_until(lambda: fleet.metrics()[REFUSED_CERTIFICATES] == 15, "all to be counted")
        log = fleet.collector.output()
        assert 3 <= log.count("A connection from 127.0.0.1 ") <= 7
        assert f"the certificate of host {host_id}" in log and "holdfast token create" in log
        # In the audit log: the host whose certificate was ours, once a minute; nobody else.
        entries = wait_until(lambda: audit(fleet, "session.refused"), "the audit entry")
        assert {(e["object"], e["outcome"]) for e in entries} == {(host_id, "refused")}
        assert len(entries) <= 2 and "expired" in entries[0]["detail"]


def test_the_collectors_own_certificate_is_no_ticket(fleet, tmp_path):
    tls = fleet.collector.directory / "tls"
    both = tmp_path / "both.pem"
    both.write_bytes((tls / "collector.key").read_bytes() + (tls / "collector.pem").read_bytes())
    with pytest.raises(Refused):
        with Client(fleet, both):
            pass


@pytest.mark.parametrize("host,sni", WAYS)
def test_a_host_that_never_enrolled_is_refused_before_its_first_frame_is_read(
        fleet, issuing, tmp_path, host, sni):
    stranger = issuing.issue(tmp_path / "x.pem", "h-ffffffffffffffff")
    with Client(fleet, stranger, host, sni) as client:
        with contextlib.suppress(OSError):
            client.send(GARBAGE)
        code, message = client.goaway()
    assert code == DENIED  # and not MALFORMED: nobody looked at it
    assert "enrol" in message


@pytest.mark.parametrize("name", [" ", "robot-certified", "x" * 64, "h-ffffffffffffffff' --"])
def test_odd_names_in_certificates_are_nobody(fleet, issuing, tmp_path, name):
    try:
        with Client(fleet, issuing.issue(tmp_path / "x.pem", name)) as client:
            assert client.goaway()[0] == DENIED
    except Refused:
        assert len(name) == 64  # longer than the TLS library will say
    assert fleet.collector.running()


@pytest.mark.parametrize("host,sni", WAYS)
def test_a_revoked_host_is_refused_before_its_first_frame_is_read(fleet, host, sni):
    name = f"robot-revoked-{host.replace('.', '-')}-{int(sni)}"
    revoked = fleet.add_host(name, start=False)
    fleet.cli("host", "revoke", name, "--reason", "sold")
    with Client(fleet, identity_of(revoked), host, sni) as client:
        with contextlib.suppress(OSError):
            client.send(GARBAGE)
        code, message = client.goaway()
    assert code == REVOKED
    assert "revoked" in message and "new token" in message
    host_id = host_of(fleet, name)["id"]
    refusals = wait_until(lambda: [e for e in audit(fleet, "session.refused") if e["object"] == host_id],
                          "the audit entry, which is committed in its own time")
    assert refusals[0]["outcome"] == "refused"


def test_a_session_ends_when_its_certificate_does(fleet, enrolled, issuing, tmp_path):
    host_id = host_of(fleet, "robot-certified")["id"]
    certificate = issuing.issue(tmp_path / "x.pem", host_id, ends=4)
    with Client(fleet, certificate) as client:
        client.hello()
        assert client.frame()[0] == WELCOME
        code, message = client.goaway()
    assert code == EXPIRED and "holdfast token create" in message
    with pytest.raises(Refused):
        with Client(fleet, certificate):
            pass


def test_agents_listener_serves_no_plain_http_and_no_other_path(fleet, enrolled):
    context = ssl.create_default_context(cafile=str(fleet.collector.directory / "ca/root.pem"))
    context.load_cert_chain(str(identity_of(enrolled)))
    port = int(fleet.collector.ports["agents"])
    for request in ("GET / HTTP/1.1\r\nHost: x\r\n\r\n",
                    "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n",
                    "GET /other HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                    "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\nSec-WebSocket-Version: 13\r\n"
                    "Sec-WebSocket-Protocol: holdfast.v1\r\n\r\n",
                    "GET /v1/agent HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
                    "Connection: Upgrade\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n"
                    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: other\r\n\r\n"):
        with socket.create_connection(("localhost", port), timeout=20) as plain:
            with context.wrap_socket(plain, server_hostname="localhost") as tls:
                tls.sendall(request.encode())
                with contextlib.suppress(ssl.SSLError, ConnectionError):
                    assert b" 101 " not in tls.recv(4096)
    assert fleet.collector.running()


def test_old_versions_of_tls_are_refused(fleet, enrolled):
    for listener in ("agents", "enrol", "api"):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.set_ciphers("ALL:@SECLEVEL=0")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
        with socket.create_connection(
                ("localhost", int(fleet.collector.ports[listener])), timeout=20) as plain:
            with pytest.raises((ssl.SSLError, ConnectionError)):
                context.wrap_socket(plain)


# --- one identity, one session ---

def copy_identity(fleet, original, name):
    copy = fleet.add_host(name, start=False, enrol=False)
    shutil.copytree(original.directory / "identity", copy.directory / "identity")
    return copy


def test_a_second_live_session_of_an_identity_is_refused_audited_and_shown(fleet):
    original = fleet.add_host("robot-original")
    wait_until(lambda: host_of(fleet, "robot-original")["online"], "the first session")
    copy = copy_identity(fleet, original, "robot-copy")
    copy.start()
    wait_until(lambda: host_of(fleet, "robot-original")["duplicates_refused"] > 0,
               "the second session's refusal")
    host = host_of(fleet, "robot-original")
    assert host["online"]
    entries = wait_until(lambda: [e for e in audit(fleet, "session.duplicate") if e["object"] == host["id"]],
                         "the audit entry, which is committed in its own time")
    assert entries[0]["outcome"] == "refused"
    assert "holdfast host revoke" in fleet.collector.output()
    # The first one's work goes on.
    original.write("data/f", "from the original")
    target = original.target("data", "data/f")
    wait_until(lambda: fleet.cli("cat", target, check=False).stdout == "from the original",
               "its file")
    # Once it is gone the other may come: a machine that was replaced must not be shut out.
    original.stop()
    wait_until(lambda: host_of(fleet, "robot-original")["online"], "the copy to take over")
    copy.stop()


def test_the_same_agent_coming_back_replaces_its_dead_connection(fleet, enrolled):
    instance = os.urandom(16)
    with Client(fleet, identity_of(enrolled)) as first:
        first.hello(instance)
        assert first.frame()[0] == WELCOME
        with Client(fleet, identity_of(enrolled)) as other:
            other.hello()
            assert other.goaway()[0] == DUPLICATE
        with Client(fleet, identity_of(enrolled)) as second:
            second.hello(instance)
            assert second.frame()[0] == WELCOME
            assert first.goaway()[0] == DUPLICATE


# --- revocation of a live session ---

def test_revoking_ends_a_live_session_at_once_and_for_good(fleet):
    host = fleet.add_host("robot-live")
    host.write("data/before", "kept")
    target = host.target("data", "data/before")
    wait_until(lambda: fleet.cli("cat", target, check=False).stdout == "kept", "its file")
    assert host_of(fleet, "robot-live")["online"]
    fleet.cli("host", "revoke", "robot-live", "--reason", "stolen")
    wait_until(lambda: not host_of(fleet, "robot-live")["online"], "the session to end")
    host.write("data/before", "what a thief would add")
    time.sleep(2)
    assert not host_of(fleet, "robot-live")["online"]
    assert len(fleet.versions(host, "data", "data/before")) == 1
    assert host_of(fleet, "robot-live")["revoked"]["reason"] == "stolen"
    # What it stored stays.
    assert fleet.cli("cat", host.target("data", "data/before")) == "kept"
    wait_until(lambda: "revoked: stolen" in host.output() and "new token" in host.output(),
               "the agent to say why, and what to do")
    host.stop()


def test_revoking_ends_connections_that_said_nothing_yet(fleet):
    """Let in before, they would be a session afterwards."""
    host = fleet.add_host("robot-spare", start=False)
    with Client(fleet, identity_of(host)) as spare, Client(fleet, identity_of(host)) as live:
        live.hello()
        assert live.frame()[0] == WELCOME
        fleet.cli("host", "revoke", "robot-spare")
        assert live.goaway()[0] == REVOKED
        spare.hello()
        assert spare.goaway()[0] == REVOKED


def test_one_certificate_does_not_take_all_the_places(fleet, enrolled):
    host = fleet.add_host("robot-many-lines", start=False)
    lines = [Client(fleet, identity_of(host)) for _ in range(8)]
    with pytest.raises(Refused):
        Client(fleet, identity_of(host))
    with Client(fleet, identity_of(enrolled)) as other:
        other.hello()
        assert other.frame()[0] == WELCOME
    for line in lines:
        line.socket.close()

    def gets_in():
        try:
            with Client(fleet, identity_of(host)) as again:
                again.hello()
                return again.frame()[0] == WELCOME
        except Refused:
            return False
    wait_until(gets_in, "its places to be free again")


# --- joining, as people do it ---

def enroll(fleet, token_text, directory, mode=0o600):
    token = directory / "token"
    token.write_text(token_text)
    token.chmod(mode)
    return run(AGENT, "enroll", "--token-file", token, "--identity", directory / "identity",
               check=False)


def test_a_token_of_one_use_lets_one_host_in(fleet, tmp_path):
    token = fleet.cli("token", "create", "--ttl", "10m", "--uses", "1")
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    assert enroll(fleet, token, first).returncode == 0
    result = enroll(fleet, token, second)
    assert result.returncode == 1
    assert "used up" in result.stderr and "token create" in result.stderr
    assert not (second / "identity/agent.pem").exists()


def test_an_expired_token_and_one_of_another_collector_are_refused(fleet, tmp_path):
    token = fleet.cli("token", "create", "--ttl", "1s")
    time.sleep(1.5)
    result = enroll(fleet, token, tmp_path)
    assert result.returncode == 1 and "expired" in result.stderr
    with Fleet() as other:
        ours = fleet.cli("token", "create", "--ttl", "10m").strip().split(".")
        theirs = other.cli("token", "create", "--ttl", "10m").strip().split(".")
        # Their secret at our address, and our address with the fingerprint of their root.
        result = enroll(fleet, ".".join(ours[:2] + theirs[2:]), tmp_path)
        assert result.returncode == 1 and "not known" in result.stderr
        other.collector.stop()
        result = enroll(fleet, ".".join(theirs), tmp_path)
        assert result.returncode == 1 and "port" in result.stderr


def test_secrets_stay_out_of_logs_processes_and_the_catalog(fleet, tmp_path):
    token = fleet.cli("token", "create", "--ttl", "10m").strip()
    secret = token.split(".")[-1]
    result = enroll(fleet, token, tmp_path)
    assert result.returncode == 0
    assert secret not in result.stdout + result.stderr
    assert secret not in fleet.collector.output()
    for path in pathlib.Path(fleet.collector.directory).glob("catalog.db*"):
        assert secret.encode() not in path.read_bytes()


@pytest.mark.parametrize("arguments", [["--token", "SECRET"], ["--token=SECRET"], ["--token-file", "SECRET"],
                                       ["--token-file=SECRET"], ["--tok=SECRET"], ["--nonsense=SECRET"], ["SECRET"]])
def test_a_token_on_the_command_line_is_neither_taken_nor_repeated(tmp_path, arguments):
    secret = "hf1.d2hlcmU.0123456789abcdef.c2VjcmV0"
    result = run(AGENT, "enroll", *[one.replace("SECRET", secret) for one in arguments],
                 "--identity", tmp_path / "identity", check=False)
    assert result.returncode == 2 and result.stderr
    assert secret not in result.stdout + result.stderr
    assert "file" in result.stderr or "there is no option" in result.stderr
    assert not (tmp_path / "identity").exists()
