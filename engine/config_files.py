"""What a configuration can say of files: where they are, how much of them there may be."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from engine.toml import TableReader

_OF_URL: Final = ("endpoint", "region", "access_key", "secret_key", "allow_http")


@dataclass(frozen=True, slots=True)
class FilesConfig:
    """Files that clients store, and what jobs have made."""

    folder: Path = Path("files")
    """Relative to the database's folder."""
    url: str | None = None
    """In place of a folder: `s3://BUCKET`, maybe with `/PREFIX`."""
    endpoint: str | None = None
    """Of a server that speaks S3; left out: AWS's own of the region."""
    region: str | None = None
    """Left out: what AWS's variables say, else us-east-1."""
    access_key: str | None = field(default=None, repr=False)
    """With `secret_key`; left out: AWS's variables, or the role of the machine."""
    secret_key: str | None = field(default=None, repr=False)
    allow_http: bool = False
    """The endpoint may be one without TLS."""
    timeout_s: float = 30.0
    """For one request of the endpoint, which moves 8 MiB at most."""
    file_max_bytes: int = 512 * 1024 * 1024
    account_max_bytes: int = 10 * 1024**3
    """Of an account whose plan has no `storage_max_bytes`."""
    account_files_max: int = 100_000
    inline_max_bytes: int = 8 * 1024 * 1024
    """A larger file that a request names is uploaded to its provider rather than sent in it."""
    inline_total_max_bytes: int = 20 * 1024 * 1024
    """Of all files that go in one request."""
    expires_after_s: float | None = None
    """Of files whose clients name no end; left out: they stay."""
    uploads_max: int = 200
    """Files that may be sent at once; one account has a fourth at most."""
    sweep_s: float = 60.0
    """So often expired files are removed."""

    @property
    def bucket(self) -> tuple[str, str]:
        """The name of the bucket and the prefix, of a URL that was checked."""
        url = urlsplit(self.url or "")
        return url.netloc, url.path.strip("/")


def check_files(files: FilesConfig, said: object, reader: TableReader) -> None:
    """What no single value can say; `said` is the table. Raises ConfigError, with the line."""
    said = said if isinstance(said, dict) else {}
    if files.url is None:
        for key in _OF_URL:
            if key in said:
                raise reader.error(("files", key), "is only for an 'url'")
    else:
        _check_url(files, reader)
        if "folder" in said:
            raise reader.error(("files", "folder"), "is not used where there is an 'url'")
    if (files.access_key is None) != (files.secret_key is None):
        raise reader.error(("files",), "needs both 'access_key' and 'secret_key'")
    if files.inline_max_bytes > files.inline_total_max_bytes:
        raise reader.error(
            ("files", "inline_max_bytes"), "is more than 'inline_total_max_bytes' of a request"
        )


def _check_url(files: FilesConfig, reader: TableReader) -> None:
    assert files.url is not None
    url = urlsplit(files.url)
    odd = url.query or url.fragment or "@" in url.netloc or ":" in url.netloc
    if url.scheme != "s3" or not url.netloc or odd:
        raise reader.error(("files", "url"), "must be s3://BUCKET, maybe with /PREFIX")
    if files.endpoint is None:
        return
    try:
        endpoint = urlsplit(files.endpoint)
        _ = endpoint.port
    except ValueError:
        raise reader.error(("files", "endpoint"), "is no http(s) URL") from None
    plain = not (endpoint.username or endpoint.password or endpoint.query or endpoint.fragment)
    if endpoint.scheme not in ("http", "https") or not endpoint.hostname or not plain:
        raise reader.error(("files", "endpoint"), "is no http(s) URL")
    if endpoint.scheme == "http" and not files.allow_http:
        raise reader.error(("files", "endpoint"), "has no TLS: 'allow_http = true' lets it")
