"""Whom an agent talks to: a collector of its authority and name, and nobody else."""
import socket
import ssl
import threading

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

from certificates import Authority
from fleet import Fleet, wait_until

NAMES = ("localhost", "127.0.0.1")
SERVER = ExtendedKeyUsageOID.SERVER_AUTH


@pytest.fixture(scope="module")
def fleet():
    with Fleet() as fleet:
        yield fleet


@pytest.fixture()
def issuing(fleet):
    return Authority.of_collector(fleet.collector.directory)


class Impostor:
    """A TLS server that is not, or not quite, the collector. Counts what it is told."""

    def __init__(self, certificate, client_ca=None):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(str(certificate))
        if client_ca:
            self.context.verify_mode = ssl.CERT_REQUIRED
            self.context.load_verify_locations(str(client_ca))
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(0.1)
        self.port = self.listener.getsockname()[1]
        self.connections = 0
        self.heard = b""
        self.stopping = False
        self.thread = threading.Thread(target=self.serve)

    def serve(self):
        while not self.stopping:
            try:
                plain, _ = self.listener.accept()
            except OSError:
                continue
            plain.settimeout(5)
            try:
                with self.context.wrap_socket(plain, server_side=True) as tls:
                    self.heard += tls.recv(65536)
            except (OSError, ssl.SSLError):
                pass
            self.connections += 1

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopping = True
        self.thread.join()
        self.listener.close()


def agent_against(fleet, name, certificate, address):
    """Start an enrolled agent that takes the impostor for its collector."""
    host = fleet.add_host(name, start=False)
    with Impostor(certificate) as impostor:
        settings = host.directory / "identity/identity.ini"
        lines = [f"collector = {address}:{impostor.port}" if line.startswith("collector") else line
                 for line in settings.read_text().splitlines()]
        settings.write_text("\n".join(lines) + "\n")
        host.start()
        wait_until(lambda: impostor.connections >= 2 or impostor.heard,
                   "the agent to try twice")
        host.stop()
        return impostor.heard, host.output()


def test_an_agent_talks_to_a_collector_of_its_authority(fleet, issuing, tmp_path):
    """The control of the refusals below."""
    for address in NAMES:
        good = issuing.issue(tmp_path / "x.pem", "x", purpose=SERVER, names=NAMES)
        heard, _ = agent_against(fleet, f"robot-control-{address.replace('.', '-')}", good, address)
        assert b"GET /v1/agent" in heard


@pytest.mark.parametrize("address", NAMES)
@pytest.mark.parametrize("case", ["wrong-ca", "same-names", "wrong-name", "expired", "future",
                                  "host-certificate"])
def test_an_agent_tells_nothing_to_a_collector_that_is_not_its_own(fleet, issuing, tmp_path, case,
                                                                  address):
    path = tmp_path / "x.pem"
    others = ("other.example", "192.0.2.1")
    certificate = {
        "wrong-ca": lambda: Authority.made_up().issue(path, "x", purpose=SERVER, names=NAMES),
        "same-names": lambda: Authority.made_up("Holdfast issuing").issue(
            path, "x", purpose=SERVER, names=NAMES),
        "wrong-name": lambda: issuing.issue(path, address, purpose=SERVER, names=others),
        "expired": lambda: issuing.issue(path, "x", begins=-3600, ends=-60, purpose=SERVER,
                                         names=NAMES),
        "future": lambda: issuing.issue(path, "x", begins=3600, ends=7200, purpose=SERVER,
                                        names=NAMES),
        "host-certificate": lambda: issuing.issue(path, "x", names=NAMES),
    }[case]()
    heard, log = agent_against(fleet, f"robot-{case}-{address.replace('.', '-')}", certificate,
                               address)
    assert heard == b""
    assert address in log, "the agent says whom it does not trust"
