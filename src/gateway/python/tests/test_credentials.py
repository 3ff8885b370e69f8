"""Tokens that end and are asked for anew, against a gateway of its own that wants them: the program at TIDECAST_BIN."""

import asyncio
import base64
import hashlib
import hmac
import json
import os
import socket
import subprocess
import tempfile
import time
import unittest
import urllib.request

from tidecast_client import Refused, Updates

SECRET = "a secret of thirty-two bytes or so"
PATIENCE = 20


def token(valid_for: float) -> str:
    def part(value: bytes) -> bytes:
        return base64.urlsafe_b64encode(value).rstrip(b"=")

    claims = {"sub": "python", "roles": ["viewer"], "exp": time.time() + valid_for}
    signed = part(b'{"alg":"HS256","typ":"JWT"}') + b"." + part(json.dumps(claims).encode())
    return (signed + b"." + part(hmac.digest(SECRET.encode(), signed, hashlib.sha256))).decode()


class AGatewayWithTokens(unittest.IsolatedAsyncioTestCase):
    @classmethod
    def setUpClass(cls) -> None:
        taken = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
        app, websocket, admin = (each.getsockname()[1] for each in taken)
        for each in taken:
            each.close()
        cls.folder = tempfile.TemporaryDirectory()
        settings = [f"app.port={app}", f"websocket.port={websocket}", f"admin.port={admin}"]
        arguments = [word for setting in settings for word in ("--set", setting)]
        cls.log = open(os.path.join(cls.folder.name, "log"), "w+")
        cls.gateway = subprocess.Popen(
            [os.environ["TIDECAST_BIN"], "dev", *arguments],
            cwd=cls.folder.name, env={**os.environ, "STREAMING_AUTH__HS256_SECRET": SECRET}, stdout=cls.log, stderr=cls.log,
        )
        cls.websocket = f"ws://127.0.0.1:{websocket}/forecast-updates"
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{admin}/health/ready"):
                    return
            except OSError:
                if cls.gateway.poll() is not None or time.monotonic() > deadline:
                    cls.log.seek(0)
                    raise AssertionError(cls.log.read()) from None
                time.sleep(0.1)

    @classmethod
    def tearDownClass(cls) -> None:
        cls.gateway.terminate()
        cls.gateway.wait()
        cls.log.close()
        cls.folder.cleanup()

    async def test_a_token_that_is_not_taken_any_more_is_asked_for_anew(self) -> None:
        given = [token(-600), token(600)]
        async with asyncio.timeout(PATIENCE), Updates(self.websocket, token=lambda: given.pop(0), wait_min=0.05) as updates:
            async for message in updates:
                if message["type"] == "subscribed":
                    break
        self.assertEqual(given, [])

    async def test_the_same_token_again_is_a_refusal(self) -> None:
        for ended in [token(-600), lambda ended=token(-600): ended]:
            with self.assertRaises(Refused) as refused:
                async with asyncio.timeout(PATIENCE), Updates(self.websocket, token=ended, wait_min=0.05) as updates:
                    async for message in updates:
                        self.assertNotEqual(message["type"], "subscribed")
            self.assertEqual(refused.exception.code, 4401)


if __name__ == "__main__":
    unittest.main()
