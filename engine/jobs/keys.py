"""What tells a provider that it has been asked for the same job before."""

from __future__ import annotations

from hashlib import sha256

from engine.job import JobSpec
from engine.wire.http import Headers


def submit_key(spec: JobSpec, job_id: str, path: str) -> Headers:
    """The header of a submit of a job to the deployment `path`: the same whenever it is sent."""
    if spec.idempotency_header is None:
        return []
    deployment = sha256(path.encode()).hexdigest()[:8]
    return [(spec.idempotency_header.lower().encode(), f"{job_id}-{deployment}".encode())]
