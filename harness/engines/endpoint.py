"""Where a server is, and its answers read under one deadline, however slowly bytes come. Standard library only."""

from __future__ import annotations

import http.client
import io
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from harness.redaction import redacted


@dataclass(frozen=True)
class Endpoint:
    """Where to ask. `key` is sent as a bearer token and shown nowhere."""

    base_url: str
    key: str | None = None

    def connection(self, timeout_s: float) -> http.client.HTTPConnection:
        """A connection that is not yet open."""
        parts = urlsplit(self.base_url)
        assert parts.hostname is not None
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        return kind(parts.hostname, parts.port, timeout=timeout_s)

    def path(self, path: str) -> str:
        """A path under the server's own."""
        return urlsplit(self.base_url).path.rstrip("/") + path

    @property
    def headers(self) -> dict[str, str]:
        """What every request carries."""
        plain = {"Content-Type": "application/json", "Connection": "close"}
        return plain | ({"Authorization": f"Bearer {self.key}"} if self.key else {})

    def scrubbed(self, text: str) -> str:
        """The text without the key, should the server have repeated it, and without other secrets."""
        return redacted(text, also=(self.key,) if self.key else ())

    def __repr__(self) -> str:
        return f"Endpoint({self.base_url!r})"


class _Until(io.RawIOBase):
    """A socket's bytes until a deadline: each wait is for what is left of it, so that a trickle does not renew it."""

    def __init__(
        self, channel: socket.socket, raw: io.RawIOBase, now_s: Callable[[], float], deadline_s: float
    ) -> None:
        self._channel, self._raw, self._now_s, self._deadline_s = channel, raw, now_s, deadline_s

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: Any) -> int | None:
        """What has come, once anything has.

        Raises:
            TimeoutError: The deadline has passed.
        """
        left_s = self._deadline_s - self._now_s()
        if left_s <= 0:
            raise TimeoutError
        self._channel.settimeout(left_s)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        """The socket's file."""
        self._raw.close()
        super().close()


def answer_until(
    channel: socket.socket, method: str, now_s: Callable[[], float], deadline_s: float
) -> http.client.HTTPResponse:
    """Status and headers of what comes; all of it, headers and chunks too, is read under the deadline."""
    response = http.client.HTTPResponse(channel, method=method)
    response.fp = io.BufferedReader(_Until(channel, response.fp.detach(), now_s, deadline_s))
    try:
        response.begin()
    except BaseException:
        response.close()
        raise
    return response
