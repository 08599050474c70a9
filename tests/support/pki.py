# SPDX-License-Identifier: Apache-2.0
"""Certificates, keys and service-account tokens of a control plane of the tests' own."""

from __future__ import annotations

import base64
import json
import ssl
from typing import TYPE_CHECKING, Any, NamedTuple

import trustme
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils

if TYPE_CHECKING:
    from pathlib import Path

ADMINISTRATORS = "system:masters"


class Client(NamedTuple):
    """The files with which somebody shows who he is."""

    certificate: Path
    key: Path


class Pki:
    """The certificates and keys of a control plane, as files."""

    def __init__(self, folder: Path, names: list[str]) -> None:
        self._folder = folder
        self._authority = trustme.CA()
        self._authority.cert_pem.write_to_path(folder / "ca.crt")
        self.server_certificate = folder / "server.crt"
        self.server_key = folder / "server.key"
        server = self._authority.issue_cert(*names, common_name="kube-apiserver")
        server.cert_chain_pems[0].write_to_path(self.server_certificate)
        server.private_key_pem.write_to_path(self.server_key)
        self.admin = self.client("admin", ADMINISTRATORS)
        self._signer = ec.generate_private_key(ec.SECP256R1())
        self.account_key = folder / "service-accounts.key"
        self.account_public_key = folder / "service-accounts.pub"
        encoding = serialization.Encoding.PEM
        self.account_key.write_bytes(
            self._signer.private_bytes(
                encoding,
                serialization.PrivateFormat.TraditionalOpenSSL,
                serialization.NoEncryption(),
            )
        )
        self.account_public_key.write_bytes(
            self._signer.public_key().public_bytes(
                encoding, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        )

    def admin_context(self) -> ssl.SSLContext:
        """What an administrator connects with."""
        context = self.context()
        context.load_cert_chain(*self.admin)
        return context

    def client(self, user: str, group: str = "") -> Client:
        """A client certificate; Kubernetes takes the user from CN, the group from O."""
        name = user.rpartition(":")[2]
        made = Client(self._folder / f"{name}.crt", self._folder / f"{name}.key")
        issued = self._authority.issue_cert(
            f"{name}.test", common_name=user, organization_name=group or None
        )
        issued.cert_chain_pems[0].write_to_path(made.certificate)
        issued.private_key_pem.write_to_path(made.key)
        return made

    def context(self) -> ssl.SSLContext:
        """What anybody connects with who has a token."""
        context = ssl.create_default_context()
        self._authority.configure_trust(context)
        return context

    def sign(self, claims: dict[str, Any]) -> str:
        """A JSON web token, ES256 (RFC 7518, 3.4: the two numbers, 32 bytes each)."""
        head = {"alg": "ES256", "typ": "JWT"}
        signed = ".".join(_base64url(json.dumps(part).encode()) for part in (head, claims))
        numbers = utils.decode_dss_signature(
            self._signer.sign(signed.encode(), ec.ECDSA(hashes.SHA256()))
        )
        signature = b"".join(number.to_bytes(32, "big") for number in numbers)
        return f"{signed}.{_base64url(signature)}"


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
