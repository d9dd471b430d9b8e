"""The front door of a LifeLog server as FastAPI makes it: takes the contract's body apart, validates it and answers,
without the queue and the database that stand behind a real one. Prints its port; ends with its standard input."""

import socket
import sys
import threading
from datetime import datetime, timezone
from typing import Any

import uvicorn
from fastapi import FastAPI, Header, HTTPException
from pydantic import AwareDatetime, BaseModel


class Event(BaseModel):
    timestamp: AwareDatetime
    type: str
    data: dict[str, Any]


class Batch(BaseModel):
    source_id: str
    sent_at_timestamp_utc: AwareDatetime
    events: list[Event]


app = FastAPI()


@app.post("/api/v1/ingest")
async def ingest(batch: Batch, authorization: str = Header()) -> dict[str, Any]:
    if not authorization.startswith("Bearer "):
        raise HTTPException(401)
    return {
        "status": "success",
        "source_id": batch.source_id,
        "received_events": len(batch.events),
        "ingestion_timestamp": datetime.now(timezone.utc).isoformat(),
    }


listener = socket.socket()
listener.bind(("127.0.0.1", 0))
server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False))
threading.Thread(target=server.run, args=([listener],), daemon=True).start()
print(listener.getsockname()[1], flush=True)
sys.stdin.read()
