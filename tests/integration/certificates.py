"""Certificates of the test's own making: the collector's issuing key is in its hands, so that there
can be some that only a thief of that key, or a clock that went wrong, could show."""
import datetime
import ipaddress

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


def seconds(number):
    return datetime.timedelta(seconds=number)


class Authority:
    """A key that signs, and the certificate that says so."""

    def __init__(self, key, certificate):
        self.key = key
        self.certificate = certificate

    @classmethod
    def of_collector(cls, directory):
        key = serialization.load_pem_private_key((directory / "ca/issuing.key").read_bytes(), None)
        return cls(key, x509.load_pem_x509_certificate((directory / "ca/issuing.pem").read_bytes()))

    @classmethod
    def made_up(cls, name="Holdfast root"):
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = datetime.datetime.utcnow()
        certificate = (x509.CertificateBuilder().subject_name(subject).issuer_name(subject)
                       .public_key(key.public_key()).serial_number(x509.random_serial_number())
                       .not_valid_before(now - seconds(3600)).not_valid_after(now + seconds(3600))
                       .add_extension(x509.BasicConstraints(True, None), True)
                       .sign(key, hashes.SHA256()))
        return cls(key, certificate)

    def issue(self, path, name, begins=-60, ends=3600, purpose=ExtendedKeyUsageOID.CLIENT_AUTH,
              names=()):
        """Key, leaf and this authority's certificate in one file, as agents keep them."""
        key = ec.generate_private_key(ec.SECP256R1())
        leaf = self.certify(key.public_key(), name, begins, ends, purpose, names)
        pem = serialization.Encoding.PEM
        path.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.TraditionalOpenSSL,
                                           serialization.NoEncryption())
                         + leaf.public_bytes(pem) + self.certificate.public_bytes(pem))
        path.chmod(0o600)
        return path

    def certify(self, public_key, name, begins, ends, purpose, names=()):
        now = datetime.datetime.utcnow()
        builder = (x509.CertificateBuilder()
                   .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
                   .issuer_name(self.certificate.subject).public_key(public_key)
                   .serial_number(x509.random_serial_number())
                   .not_valid_before(now + seconds(begins)).not_valid_after(now + seconds(ends))
                   .add_extension(x509.BasicConstraints(False, None), True)
                   .add_extension(x509.ExtendedKeyUsage([purpose]), False))
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(
                [x509.IPAddress(ipaddress.ip_address(n)) if n[0].isdigit() else x509.DNSName(n)
                 for n in names]), False)
        return builder.sign(self.key, hashes.SHA256())

    def sign(self, request, begins=-60, ends=3600):
        """The chain, in PEM, that answers a host's request (PKCS#10, DER)."""
        asked = x509.load_der_x509_csr(request)
        name = asked.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
        leaf = self.certify(asked.public_key(), name, begins, ends, ExtendedKeyUsageOID.CLIENT_AUTH)
        pem = serialization.Encoding.PEM
        return leaf.public_bytes(pem) + self.certificate.public_bytes(pem)

    @staticmethod
    def key_of_request(request):
        return x509.load_der_x509_csr(request).public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
