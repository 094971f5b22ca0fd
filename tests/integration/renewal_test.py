"""How hosts and the collector come to their next certificates: under traffic, and when the first try fails, being
refused, not answered, not written."""
import datetime
import os
import signal
import socket
import ssl
import time

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

import holdfast_wire as wire
from certificates import Authority, seconds
from fleet import Fleet, wait_until
from hostile_collector_test import Collector
from identity_test import audit, host_of, identity_of
from impostor_test import NAMES, SERVER, Impostor


@pytest.fixture(scope="module")
def fleet():
    with Fleet() as fleet:
        yield fleet


class Scene:
    """An agent whose certificate is due, and a collector of its authority that is told what to answer."""

    def __init__(self, fleet, name, directory):
        self.authority = Authority.of_collector(fleet.collector.directory)
        server = self.authority.issue(directory / "server.pem", "x", purpose=ExtendedKeyUsageOID.SERVER_AUTH,
                                      names=("localhost", "127.0.0.1"))
        self.host = fleet.add_host(name, start=False)
        self.identity = self.host.directory / "identity/agent.pem"
        settings = self.host.directory / "identity/identity.ini"
        host_id = next(line.split("= ")[1] for line in settings.read_text().splitlines() if line.startswith("host"))
        # Of 128 s, so that pauses are seconds.
        self.authority.issue(self.identity, host_id, begins=-88, ends=40)
        self.first = self.identity.read_bytes()
        self.requests = []
        self.answers = []
        self.collector = Collector(server, fleet.collector.directory / "ca/root.pem")
        self.collector.renew = self.renew
        settings.write_text(f"[identity]\nhost = {host_id}\ncollector = localhost:{self.collector.port}\n")

    def renew(self, agent, request):
        self.requests.append(request)
        answer = self.answers.pop(0) if self.answers else "grant"
        if answer == "refuse":
            agent.send("ERROR", code=wire.OVERLOADED, about=0, stream=0, version_seq=0, message="not now", ids=b"")
        elif answer == "lie":
            agent.send("RENEWED", chain=self.first[self.first.index(b"-----BEGIN CERTIFICATE"):])
        elif answer == "grant where nothing can be written":
            self.identity.unlink()
            self.identity.mkdir()  # no file can be renamed over it
        if answer.startswith("grant"):
            agent.send("RENEWED", chain=self.authority.sign(request))

    def __enter__(self):
        self.host.start()
        return self

    def __exit__(self, kind, *_):
        if kind:
            print(self.host.output()[-4000:])
        self.host.stop(expect=None)
        self.collector.close()


@pytest.mark.parametrize("answers", [["refuse"], ["silence"], ["lie"], ["refuse", "silence"]])
def test_a_renewal_that_fails_is_asked_for_again_on_the_same_connection(fleet, tmp_path, answers):
    scene = Scene(fleet, "robot-" + "-".join(answers), tmp_path)
    scene.answers = list(answers)
    with scene:
        wait_until(lambda: "this host's certificate was renewed" in scene.host.output(), "the renewal")
        wait_until(lambda: scene.collector.sessions == 2, "the connection with the new certificate")
        assert scene.identity.read_bytes() != scene.first
        assert len(scene.requests) == len(answers) + 1, "one for each failure, and no frenzy"
        assert len({Authority.key_of_request(one) for one in scene.requests}) == 1
        assert scene.host.output().count("not renewed yet") == len(answers)


def test_a_certificate_that_can_not_be_written_is_installed_later_and_not_asked_for_again(fleet, tmp_path):
    scene = Scene(fleet, "robot-full-disk", tmp_path)
    scene.answers = ["grant where nothing can be written"]
    with scene:
        wait_until(lambda: "not renewed yet" in scene.host.output(), "the failure to install")
        scene.identity.rmdir()
        wait_until(lambda: "this host's certificate was renewed" in scene.host.output(), "the renewal")
        assert len(scene.requests) == 1
        wait_until(lambda: scene.collector.sessions == 2, "the connection with the new certificate")


def test_the_collector_answers_every_renew_also_the_one_too_many(fleet):
    host = fleet.add_host("robot-eager", start=False)
    address = ("localhost", int(fleet.collector.ports["agents"]))
    with wire.Client(address, host.directory / "identity/agent.pem",
                     fleet.collector.directory / "ca/root.pem") as agent:
        agent.hello()
        codes = []
        while wire.OVERLOADED not in codes:
            agent.send("RENEW", request=b"no request at all")
            refusal = agent.expect("ERROR")
            assert refusal["stream"] == 0 and refusal["about"] == 0 and refusal["message"]
            codes.append(refusal["code"])
            assert len(codes) < 50
        assert set(codes[:-1]) == {wire.DENIED}
        assert "may again in" in refusal["message"]
        agent.open_source(1, "goes-on")


# --- when it is too late ---

def identity_with(fleet, host, **validity):
    settings = (host.directory / "identity/identity.ini").read_text()
    host_id = next(line.split("= ")[1] for line in settings.splitlines() if line.startswith("host"))
    Authority.of_collector(fleet.collector.directory).issue(
        host.directory / "identity/agent.pem", host_id, **validity)


def complaints(host):
    return [line for line in host.output().splitlines() if "no connection to the collector" in line]


def test_an_agent_whose_certificate_ended_says_so_once_and_what_to_do(fleet, tmp_path):
    host = fleet.add_host("robot-ended", start=False)
    identity_with(fleet, host, begins=-7200, ends=-3600)
    server = Authority.of_collector(fleet.collector.directory).issue(
        tmp_path / "server.pem", "x", purpose=ExtendedKeyUsageOID.SERVER_AUTH, names=("localhost",))
    with Impostor(server, fleet.collector.directory / "ca/root.pem") as collector:
        host.config_path.write_text(host.config_path.read_text()
                                    + f"[collector]\naddress = localhost:{collector.port}\n")
        host.start()
        wait_until(lambda: collector.connections >= 6, "several attempts")
        host.stop()
    assert len(complaints(host)) == 1, host.output()
    for text in ("this host's certificate in", "ended at", "enrol again with a new token"):
        assert text in complaints(host)[0]


def test_a_revoked_host_is_told_by_its_own_log_how_to_come_back(fleet):
    host = fleet.add_host("robot-revoked")
    fleet.wait()
    fleet.cli("host", "revoke", "robot-revoked", "--reason", "sold")
    wait_until(lambda: "enrol the machine again with a new token" in "".join(complaints(host)), "the agent to say so")
    host.stop()


def serial_of(agent_pem):
    text = agent_pem.read_bytes()
    return x509.load_pem_x509_certificate(text[text.index(b"-----BEGIN CERTIFICATE"):]).serial_number


# --- when all goes well ---

def test_certificates_renew_under_traffic_without_losing_or_doubling_anything():
    with Fleet("[certificates]\nvalidity = 12s\n") as fleet:
        host = fleet.add_host("robot-renewing")
        serials = [serial_of(identity_of(host))]
        keys = {identity_of(host).read_bytes().split(b"-----END EC PRIVATE KEY")[0]}
        begin = time.monotonic()
        number = 0
        while time.monotonic() < begin + 30:
            host.write("data/counter", str(number))
            # Renamed into place: whoever looks while it is written would rightly keep that state too.
            host.write("new", os.urandom(2000)).rename(host.path(f"data/file-{number}"))
            number += 1
            time.sleep(0.05)
            serial = serial_of(identity_of(host))
            if serial != serials[-1]:
                serials.append(serial)
                keys.add(identity_of(host).read_bytes().split(b"-----END EC PRIVATE KEY")[0])
        fleet.wait()
        # In 30 s: at 45 to 63 % of 12 s each, 4 to 6 times; never in a frenzy.
        assert 3 <= len(serials) - 1 <= 8, serials
        assert len(keys) == len(serials), "each renewal has a new key"
        assert (identity_of(host).stat().st_mode & 0o777) == 0o600
        counters = [v["version"] for v in fleet.versions(host, "data", "data/counter")]
        assert len(set(counters)) == len(counters) <= number
        for i in range(number):
            versions = fleet.versions(host, "data", f"data/file-{i}")
            assert len(versions) == 1, f"file-{i}: {len(versions)} versions"
        assert fleet.cli("cat", host.target("data", "data/counter")) == str(number - 1)
        renewals = len(audit(fleet, "certificate.renew"))
        assert len(serials) - 1 <= renewals <= (time.monotonic() - begin) / 5 + 1
        assert not audit(fleet, "session.refused") and not audit(fleet, "session.duplicate")
        assert host_of(fleet, "robot-renewing")["online"]


def served_by(fleet, listener):
    """The certificate that a listener shows, whether or not it is valid."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with socket.create_connection(("localhost", int(fleet.collector.ports[listener])),
                                  timeout=20) as plain:
        with context.wrap_socket(plain) as tls:
            return x509.load_der_x509_certificate(tls.getpeercert(binary_form=True))


def let_the_collectors_certificate_end(fleet, scratch, ends):
    """Give the collector one, with a key of its own, that is nearly or quite over."""
    tls = fleet.collector.directory / "tls"
    path = Authority.of_collector(fleet.collector.directory).issue(
        scratch, "Holdfast collector", begins=-1000000, ends=ends, purpose=SERVER, names=NAMES)
    text = path.read_bytes()
    at = text.index(b"-----BEGIN CERTIFICATE")
    (tls / "collector.key").write_bytes(text[:at])
    (tls / "collector.pem").write_bytes(text[at:])
    return x509.load_pem_x509_certificate(text[at:]).serial_number


def test_the_collectors_own_certificate_is_renewed_before_anybody_sees_it_end(tmp_path):
    with Fleet() as fleet:
        host = fleet.add_host("robot-long-lived")
        fleet.wait()
        # While it runs: SIGHUP, as time does, has it looked at. The agent need not notice.
        old = let_the_collectors_certificate_end(fleet, tmp_path / "x.pem", 600)
        os.kill(fleet.collector.pid, signal.SIGHUP)
        for listener in ("agents", "enrol", "api"):
            wait_until(lambda: served_by(fleet, listener).serial_number != old
                       and served_by(fleet, listener).not_valid_after
                       > datetime.datetime.utcnow() + seconds(700 * 86400),
                       f"a new certificate for {listener}")
        assert host_of(fleet, "robot-long-lived")["online"]
        # At its start, after a long holiday: it has ended, and nobody gets to see that.
        fleet.collector.stop()
        let_the_collectors_certificate_end(fleet, tmp_path / "y.pem", -60)
        fleet.collector.start()
        host.write("data/after", "the holiday")
        wait_until(lambda: host_of(fleet, "robot-long-lived")["online"], "the agent to come back")
        fleet.wait()
        assert fleet.cli("cat", host.target("data", "data/after")) == "the holiday"
        assert "Renewed the collector's certificate" in fleet.collector.output()
