"""Options of the whole suite: `--long` also runs the tests that take minutes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import trustme

SKIPPED = "takes minutes: run with --long"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--long", action="store_true", default=False, help="also run tests marked `long`"
    )


@pytest.fixture(scope="session", autouse=True)
def one_authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The only authority that is trusted, where a test names no other; no server is of it.

    HTTP clients read the machine's 140 authorities each time one is made, for 45 ms, and most SDKs
    make two; but all that tests talk to is either not TLS or of an authority that a test made.
    """
    path = tmp_path_factory.mktemp("authority") / "authority.pem"
    trustme.CA().cert_pem.write_to_path(str(path))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(path))
        yield


@pytest.fixture(params=["prior-knowledge", "off"], ids=["http2", "http1"])
def each_protocol(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Gateways of `tests.gateways` speak HTTP/2 to their provider, then HTTP/1.1."""
    http2: str = request.param
    monkeypatch.setattr("tests.gateways.HTTP2", http2)
    return http2


SLOWEST = ("tests/test_quality.py", "tests/test_readme.py", "tests/frontends/test_serving.py")
"""They begin first: a worker that began one of them last would be waited for."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: not item.nodeid.startswith(SLOWEST))
    if config.getoption("--long"):
        return
    for item in items:
        if item.get_closest_marker("long") is not None:
            item.add_marker(pytest.mark.skip(reason=SKIPPED))
