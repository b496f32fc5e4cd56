"""What a configuration says of files."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine import parse_config
from engine.config import Config, FilesConfig
from engine.errors import ConfigError

KEYS = {"S3_ACCESS": "AKIATEST", "S3_SECRET": "nobody-sees-it"}
BUCKET = """url = "s3://a-bucket/gateways/one"
endpoint = "https://s3.example:9000"
access_key = "env:S3_ACCESS"
secret_key = "env:S3_SECRET"
"""


def read(text: str, more: str = "") -> Config:
    return parse_config(f"[files]\n{text}\n{more}", "p.toml", KEYS)


def test_files_are_beside_the_database() -> None:
    config = read("", '[storage]\nurl = "sqlite:/var/lib/parshall/money.db"')
    assert config.files == FilesConfig()
    assert config.files_folder == Path("/var/lib/parshall/files")
    elsewhere = read('folder = "/mnt/files"')
    assert elsewhere.files_folder == Path("/mnt/files")


def test_a_bucket_and_its_keys_which_are_secrets() -> None:
    files = read(BUCKET).files
    assert files.bucket == ("a-bucket", "gateways/one")
    assert read('url = "s3://b"').files.bucket == ("b", "")
    assert (files.access_key, files.secret_key) == ("AKIATEST", "nobody-sees-it")
    assert "AKIATEST" not in repr(files)
    assert "nobody" not in repr(files)


def test_a_plan_says_how_much() -> None:
    plans = parse_config("[plans.big]\nstorage_max_bytes = 5_000_000", "p.toml", {}).plans
    assert plans["big"].storage_max_bytes == 5_000_000


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('access_key = "AKIA"', 'must be "env:NAME" or "file:/path"'),
        ('url = "https://a/b"', "files.url must be s3://BUCKET"),
        ('url = "s3://"', "files.url must be s3://BUCKET"),
        ('url = "s3://user:secret@bucket"', "files.url must be s3://BUCKET"),
        ('url = "s3://bucket?region=x"', "files.url must be s3://BUCKET"),
        ('region = "eu-west-1"', "files.region is only for an 'url'"),
        ("allow_http = true", "files.allow_http is only for an 'url'"),
        ('url = "s3://b"\nfolder = "f"', "files.folder is not used where there is an 'url'"),
        ('url = "s3://b"\naccess_key = "env:S3_ACCESS"', "needs both 'access_key' and"),
        ('url = "s3://b"\nendpoint = "s3.example"', "files.endpoint is no http(s) URL"),
        ('url = "s3://b"\nendpoint = "http://s3"', "has no TLS: 'allow_http = true'"),
        ('url = "s3://b"\nendpoint = "http://s3:99999"', "files.endpoint is no http(s) URL"),
        ("inline_max_bytes = 30_000_000", "more than 'inline_total_max_bytes'"),
        ("file_max_bytes = 0", "files.file_max_bytes must be more than 0"),
        ("folders = 1", "files.folders is unknown; did you mean 'folder'?"),
    ],
)
def test_a_mistake_is_named_with_its_line(line: str, problem: str) -> None:
    with pytest.raises(ConfigError) as refused:
        read(line)
    assert str(refused.value).startswith("p.toml:")
    assert problem in str(refused.value)
