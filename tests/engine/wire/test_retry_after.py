"""How long a server asks to be left alone, in each way that servers say it."""

from __future__ import annotations

import pytest

from engine.wire.retry_after import retry_after_s

NOW_S = 784_111_777.0  # Sun, 06 Nov 1994 08:49:37 GMT


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "0.05"}, 0.05),
        ({"retry-after": " 2.5 "}, 2.5),
        ({"retry-after-ms": "1500"}, 1.5),
        ({"retry-after": "2", "retry-after-ms": "1500"}, 1.5),
        ({"retry-after": "2", "retry-after-ms": "soon"}, 2.0),
        ({"retry-after": "Sun, 06 Nov 1994 08:49:47 GMT"}, 10.0),
        ({"retry-after": "Sun, 06 Nov 1994 08:49:27 GMT"}, 0.0),
        (
            {
                "retry-after": "Sun, 06 Nov 1994 10:00:00 GMT",
                "date": "Sun, 06 Nov 1994 09:59:30 GMT",
            },
            30.0,
        ),
        ({"retry-after": "999999999999"}, 86_400.0),
        ({"retry-after": "Fri, 31 Dec 9999 23:59:59 GMT"}, 86_400.0),
        ({}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "tomorrow"}, None),
        ({"retry-after": "9" * 4_000}, None),
    ],
)
def test_the_wait_that_a_server_asks_for(headers: dict[str, str], seconds: float | None) -> None:
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    assert retry_after_s(raw, NOW_S) == seconds
