"""A third party's server that speaks S3, in a process of its own: moto's."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, Any

import boto3

from engine.storage.s3 import BucketSettings

STARTUP_S = 60
ACCESS_KEY, SECRET_KEY, REGION = "access-of-the-test", "secret-of-the-test", "us-east-1"


@dataclass(frozen=True, slots=True)
class S3Server:
    """Where it listens; and the view of another client of it, AWS's own."""

    endpoint: str
    client: Any
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def settings(self, *, made: bool = True, **changes: object) -> BucketSettings:
        """Of a new bucket; or of one that there is not."""
        bucket = f"bucket-{next(self._numbers)}"
        if made:
            self.client.create_bucket(Bucket=bucket)
        return settings_for(self.endpoint, bucket, **changes)

    def keys(self, bucket: str) -> list[str]:
        """All that is in a bucket."""
        found = self.client.list_objects_v2(Bucket=bucket).get("Contents", [])
        return sorted(each["Key"] for each in found)

    def begun(self, bucket: str) -> list[Any]:
        """Uploads in parts that nobody has ended."""
        uploads: list[Any] = self.client.list_multipart_uploads(Bucket=bucket).get("Uploads", [])
        return uploads


def _endpoint(process: subprocess.Popen[str], log: IO[str]) -> str:
    deadline_s = time.monotonic() + STARTUP_S
    while time.monotonic() < deadline_s and process.poll() is None:
        log.seek(0)
        said = log.read()
        if found := re.search(r"http://127\.0\.0\.1:\d+", said):
            return found[0]
        time.sleep(0.02)
    raise AssertionError(f"it did not start: {said}")


def settings_for(endpoint: str, bucket: str = "a-bucket", **changes: object) -> BucketSettings:
    """Of a bucket at a server without TLS."""
    said = {
        "endpoint": endpoint,
        "region": REGION,
        "access_key": ACCESS_KEY,
        "secret_key": SECRET_KEY,
        "allow_http": True,
    }
    return BucketSettings(bucket, **(said | changes))  # type: ignore[arg-type]


@contextmanager
def s3_server() -> Iterator[S3Server]:
    """Serve for the block, from memory."""
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
    with (
        tempfile.TemporaryFile("w+") as log,
        subprocess.Popen(command, stderr=log, stdout=log, text=True) as process,
    ):
        try:
            endpoint = _endpoint(process, log)
            client = boto3.client(
                "s3",
                endpoint_url=endpoint,
                aws_access_key_id=ACCESS_KEY,
                aws_secret_access_key=SECRET_KEY,
                region_name=REGION,
            )
            yield S3Server(endpoint, client)
        finally:
            process.terminate()
