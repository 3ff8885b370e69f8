"""Against a real gateway, at TIDECAST_WEBSOCKET and TIDECAST_URL."""

import asyncio
import json
import os
import socket
import unittest
import urllib.request
import uuid

from tidecast_client import Refused, Updates

WEBSOCKET = os.environ["TIDECAST_WEBSOCKET"]
URL = os.environ["TIDECAST_URL"]
PATIENCE = 20


def forecast(model: str, value: float) -> dict:
    return {
        "model_id": model, "timestamp": "2026-01-20T10:30:00Z", "predicted_value": value,
        "confidence_interval": [value, value], "forecast_horizon": 1, "model_type": "External", "metadata": {},
    }


async def tell(model: str, *values: float) -> None:
    body = json.dumps([forecast(model, value) for value in values]).encode()
    request = urllib.request.Request(f"{URL}/api/forecasts", body, {"content-type": "application/json"})
    answer = await asyncio.to_thread(urllib.request.urlopen, request)
    assert answer.status == 201


class FromARealGateway(unittest.IsolatedAsyncioTestCase):
    async def test_a_lost_connection_costs_nothing(self) -> None:
        model = f"python-{uuid.uuid4()}"
        seen: list[float] = []
        async with asyncio.timeout(PATIENCE), Updates(WEBSOCKET, [model], wait_min=0.05) as updates:
            resumed = 0
            async for message in updates:
                if message["type"] == "subscribed":
                    resumed += message.get("resumed", False)
                    if not resumed:
                        await tell(model, 0, 1)
                elif message["type"] == "forecast_update":
                    seen.append(message["data"]["predicted_value"])
                    if seen == [0, 1]:
                        # As a cable that is pulled: no close frame goes either way.
                        updates._socket.transport.abort()
                        await tell(model, 2, 3, 4)
                if len(seen) >= 5:
                    break
            self.assertEqual((seen, resumed), ([0, 1, 2, 3, 4], 1))

    async def test_a_newcomer_gets_the_newest_value(self) -> None:
        model = f"python-{uuid.uuid4()}"
        async with asyncio.timeout(PATIENCE), Updates(WEBSOCKET, [model]) as first:
            async for message in first:
                if message["type"] == "subscribed":
                    await tell(model, 7)
                elif message["type"] == "forecast_update":
                    break
        async with asyncio.timeout(PATIENCE), Updates(WEBSOCKET, [model], types=["new_forecast"]) as late:
            async for message in late:
                if message["type"] == "forecast_update":
                    self.assertEqual(message["data"]["predicted_value"], 7)
                    self.assertNotIn("position", message)
                    break
            self.assertIsNotNone(late.position)

    async def test_a_bad_subscription_is_told(self) -> None:
        async with asyncio.timeout(PATIENCE), Updates(WEBSOCKET, types=["everything"]) as updates:
            async for message in updates:
                self.assertEqual((message["type"], message["data"]["code"]), ("error", "invalid_update_type"))
                break

    async def test_compression_is_agreed_and_messages_are_whole(self) -> None:
        model = f"python-{uuid.uuid4()}"
        async with asyncio.timeout(PATIENCE), Updates(WEBSOCKET, [model], types=["new_forecast"]) as updates:
            async for message in updates:
                if message["type"] == "subscribed":
                    (extension,) = updates._socket.protocol.extensions
                    self.assertEqual(extension.name, "permessage-deflate")
                    self.assertTrue(extension.remote_no_context_takeover and extension.local_no_context_takeover)
                    await tell(model, *range(40))
                elif message["type"] == "forecast_update" and message["data"]["predicted_value"] == 39:
                    break

    async def test_it_ends_also_while_it_waits_for_a_connection(self) -> None:
        # Nothing listens there, and the next try is minutes away.
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        updates = Updates(f"ws://127.0.0.1:{port}/forecast-updates", wait_min=300, wait_max=600)
        async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as tasks:
            ended = tasks.create_task(anext(aiter(updates), None))
            # It has tried once, and waits.
            while not updates.waits:
                await asyncio.sleep(0)
            await updates.close()
            self.assertIsNone(await ended)

    async def test_a_refusal_is_final(self) -> None:
        with self.assertRaises(Refused) as refused:
            async with asyncio.timeout(PATIENCE):
                async for _ in Updates(WEBSOCKET.replace("/forecast-updates", "/nowhere")):
                    pass
        self.assertEqual(refused.exception.code, 404)


if __name__ == "__main__":
    unittest.main()
