"""The least that an answer from the records can cost: an account by its id, as JSON. Run by `bench.authorize`."""

from __future__ import annotations

import os
import socket
import sys
from typing import Any

import orjson
import psycopg
import uvicorn

STATEMENT = "SELECT * FROM accounts WHERE environment = 'default' AND charging_id = %s"


class Plain:
    def __init__(self, url: str) -> None:
        self._connection = psycopg.connect(url, autocommit=True)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        message = await receive()
        number = orjson.loads(message["body"])["account"]
        row = self._connection.execute(STATEMENT, (number,)).fetchone()
        body = orjson.dumps({"plain": row is not None, "row": row}, default=str)
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def main() -> None:
    url, processes = sys.argv[1], int(sys.argv[2])
    made = socket.create_server(("127.0.0.1", 0), backlog=512)
    listening = socket.socket(fileno=made.detach())  # asyncio knows it for TCP then, and answers without delay
    print(f"Listens: 127.0.0.1:{listening.getsockname()[1]}", flush=True)
    for _ in range(processes - 1):
        if not os.fork():
            break
    config = uvicorn.Config(
        Plain(url), log_config=None, access_log=False, lifespan="off", interface="asgi3", http="httptools"
    )
    uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    main()
