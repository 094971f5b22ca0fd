"""How a host comes to its next certificate when the first try fails: refused, not answered, not written."""
import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

import holdfast_wire as wire
from certificates import Authority
from fleet import Fleet, wait_until
from hostile_collector_test import Collector
from identity_test import Impostor


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
