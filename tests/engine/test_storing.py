"""A gateway keeps files where its configuration says, and says what they come to."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine import open_gateway, parse_config
from engine.admission.plans import Plan
from engine.errors import ConfigError, StorageUnavailableError
from engine.storage.s3 import S3Blobs
from tests.gateways import open_setup
from tests.ports import free_port


def config_of(folder: Path, files: str) -> str:
    return f'[storage]\nurl = "sqlite:{folder / "ledger.db"}"\n[files]\n{files}'


async def test_a_file_of_a_gateway(tmp_path: Path) -> None:
    async with open_setup(tmp_path) as setup:
        store, account_id = setup.gateway.files, setup.account_id
        async with store.open_upload(account_id, store.limit_bytes(None)) as upload:
            await upload.append(b"what is stored")
            row = await upload.finish(filename="a", purpose="batch", mime_type="text/plain")
        assert await store.read(row) == b"what is stored"
        metrics = setup.gateway.telemetry.exposition().decode()
        for line in (
            "parshall_files 1.0",
            "parshall_file_bytes 14.0",
            "parshall_open_uploads 0.0",
            "parshall_upload_bytes 0.0",
            "parshall_file_store_up 1.0",
        ):
            assert line in metrics.splitlines()
    assert (tmp_path / "files" / row.file_id[:2] / row.file_id).read_bytes() == b"what is stored"


async def test_a_plan_goes_before_what_everybody_has(tmp_path: Path) -> None:
    text = config_of(tmp_path, "account_max_bytes = 70\nfile_max_bytes = 60")
    async with open_gateway(parse_config(text, "p.toml", {})) as gateway:
        store = gateway.files
        assert [store.limit_bytes(each) for each in (None, Plan("a"))] == [70, 70]
        assert store.limit_bytes(Plan("b", storage_max_bytes=5)) == 5
        assert store.settings.file_max_bytes == 60


async def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "files").write_text("a file")
    config = parse_config(config_of(tmp_path, 'folder = "files"'), "p.toml", {})
    with pytest.raises(ConfigError, match=r"p\.toml:4: files\.folder .*cannot be used: Not a dir"):
        async with open_gateway(config):
            raise AssertionError("it is a file")


async def test_a_bucket_that_is_down_does_not_keep_the_rest_from_being_served(
    tmp_path: Path,
) -> None:
    bucket = (
        f'url = "s3://bucket"\nendpoint = "http://127.0.0.1:{free_port()}"\nallow_http = true\n'
        'timeout_s = 0.2\nregion = "us-east-1"\naccess_key = "env:A"\nsecret_key = "env:B"'
    )
    config = parse_config(config_of(tmp_path, bucket), "p.toml", {"A": "a", "B": "b"})
    async with open_gateway(config) as gateway:
        assert isinstance(gateway.files.blobs, S3Blobs)
        assert gateway.not_ready is None
        with pytest.raises(StorageUnavailableError):
            async with gateway.files.open_upload("nobody", 10):
                raise AssertionError("nothing can be stored")
        assert "parshall_file_store_up 0.0" in gateway.telemetry.exposition().decode()
    assert not (tmp_path / "files").exists()
