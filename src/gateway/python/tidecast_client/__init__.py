"""Live updates of a Tidecast gateway: one connection that heals itself and goes on from where it stood."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

import websockets
from websockets.asyncio.client import ClientConnection, connect

__all__ = ["Refused", "Updates"]

#: Close codes after which trying again cannot help.
FINAL_CODES = frozenset({1002, 1007, 1009, 4403})
#: The token is not (or no longer) taken: another one may be.
CREDENTIALS = 4401


class Refused(Exception):
    """The gateway refused for good; ``code`` is its close code or the status of its answer."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code} {reason}".strip())
        self.code = code
        self.reason = reason


class Updates:
    """Updates of some models, as messages of ``/forecast-updates`` (dictionaries with a ``type``).

    ``models`` are names or patterns with a ``*`` at the end; ``types`` are those of ``update_types``, the gateway's own
    first two where absent. ``wait_min`` and ``wait_max`` bound the seconds before another attempt, which double with each
    attempt and are spread, so that many clients do not come back at once. ``silence`` is how long nothing may be heard.
    Where ``token`` is a function it is asked at each attempt; a token that was refused is not shown a second time.
    """

    def __init__(
        self,
        url: str,
        models: Iterable[str] = ("*",),
        types: Iterable[str] | None = None,
        token: str | Callable[[], str] | None = None,
        wait_min: float = 0.5,
        wait_max: float = 30.0,
        silence: float = 75.0,
    ) -> None:
        self._url = url
        self._models = list(models)
        self._types = None if types is None else list(types)
        self._token = token
        self._wait_min = wait_min
        self._wait_max = wait_max
        self._silence = silence
        self._shown: str | None = None
        self._refused: Refused | None = None
        self._socket: ClientConnection | None = None
        self._closed = asyncio.Event()
        #: There is no connection, and the next try is not yet.
        self.waits = False
        #: Where this client stands: the last position it was told. Kept by a program, it can be given back later.
        self.position: str | None = None

    async def __aenter__(self) -> Updates:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends the connection; the iteration ends too."""
        self._closed.set()
        if self._socket is not None:
            await self._socket.close()

    def __aiter__(self) -> AsyncIterator[dict[str, Any]]:
        return self._messages()

    async def _messages(self) -> AsyncIterator[dict[str, Any]]:
        attempt = 0
        while not self._closed.is_set():
            try:
                async with connect(self._url, max_size=None, open_timeout=10) as socket:
                    self._socket = socket
                    await self._begin(socket)
                    # It may have been closed while the connection was being made.
                    while not self._closed.is_set():
                        text = await asyncio.wait_for(socket.recv(), self._silence)
                        message = json.loads(text)
                        attempt = 0
                        self._refused = None
                        self.position = message.get("position", self.position)
                        yield message
            except websockets.InvalidStatus as error:
                status = error.response.status_code
                if status in (401, 403, 404):
                    raise Refused(status, "the handshake was refused") from error
            except websockets.ConnectionClosed as error:
                if error.rcvd is not None and error.rcvd.code in FINAL_CODES:
                    raise Refused(error.rcvd.code, error.rcvd.reason) from error
                if error.rcvd is not None and error.rcvd.code == CREDENTIALS:
                    self._refused = Refused(CREDENTIALS, error.rcvd.reason)
                    if not callable(self._token):
                        raise self._refused from error
            except (OSError, TimeoutError, asyncio.TimeoutError, websockets.InvalidHandshake):
                pass
            finally:
                self._socket = None
            wait = min(self._wait_max, self._wait_min * 2**attempt)
            attempt = min(attempt + 1, 16)
            self.waits = True
            with contextlib.suppress(TimeoutError, asyncio.TimeoutError):
                await asyncio.wait_for(self._closed.wait(), wait * random.uniform(0.5, 1.0))
            self.waits = False

    async def _begin(self, socket: ClientConnection) -> None:
        token = self._token() if callable(self._token) else self._token
        if self._refused is not None and token == self._shown:
            raise self._refused
        self._shown = token
        if token is not None:
            await socket.send(json.dumps({"type": "auth", "token": token}))
        request: dict[str, Any] = {"type": "subscribe", "model_ids": self._models}
        if self._types is not None:
            request["update_types"] = self._types
        if self.position is not None:
            request["resume"] = self.position
        await socket.send(json.dumps(request))
