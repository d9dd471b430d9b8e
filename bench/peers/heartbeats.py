"""A watcher beside a backfill: the real aw-client sends heartbeats, each of them new, at a steady rate.

Arguments: the port of aw-server. Reads a count of heartbeats a line; sends so many, ten a second, and prints how long
each took (milliseconds) and how many failed, as JSON.
"""

import json
import sys
import time
from datetime import datetime, timezone

from aw_client import ActivityWatchClient
from aw_core.models import Event

client = ActivityWatchClient("bench-watcher", host="127.0.0.1", port=int(sys.argv[1]))
client.create_bucket("bench-heartbeats", "currentwindow", queued=False)
sent = 0
for line in sys.stdin:
    took, failed = [], 0
    stop = time.monotonic() + float(line)
    while time.monotonic() < stop:
        began = time.monotonic()
        try:
            event = Event(timestamp=datetime.now(timezone.utc), duration=0, data={"app": "bench", "title": str(sent)})
            client.heartbeat("bench-heartbeats", event, pulsetime=1, queued=False)
            sent += 1
        except Exception:
            failed += 1
        took.append(1000 * (time.monotonic() - began))
        time.sleep(max(0, 0.1 - (time.monotonic() - began)))
    print(json.dumps({"took": took, "failed": failed, "sent": sent}), flush=True)
