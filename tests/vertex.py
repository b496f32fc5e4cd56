"""A service account of Google's that is made up for a test, and its file of credentials."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

ACCOUNT = "sim@sim-project.iam.gserviceaccount.com"
PROJECT = "sim-project"
REGION = "us-central1"


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    """An account and its key, as PEM."""

    name: str
    private_key: str
    public_key: str

    @property
    def known(self) -> dict[str, str]:
        """As the simulated provider wants it."""
        return {self.name: self.public_key}

    def info(self, base_url: str) -> dict[str, str]:
        """What its file holds; the simulated provider gives out the tokens."""
        return {
            "type": "service_account",
            "project_id": PROJECT,
            "private_key_id": "0" * 40,
            "private_key": self.private_key,
            "client_email": self.name,
            "client_id": "1",
            "token_uri": f"{base_url}/token",
        }

    def write(self, folder: Path, base_url: str) -> Path:
        """The file."""
        file = folder / "google.json"
        file.write_text(json.dumps(self.info(base_url)))
        return file


@functools.cache
def service_account(name: str = ACCOUNT) -> ServiceAccount:
    """One with a new key, the same for all tests of a process."""
    key = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return ServiceAccount(name, private.decode(), public.decode())
