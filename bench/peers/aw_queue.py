"""The queue of the real aw-client: heartbeats kept in its SQLite queue, then sent one by one.

Arguments: the port of a server that takes heartbeats, and how many. Prints what it took as JSON.
"""

import json
import resource
import sys
import time
from datetime import datetime, timedelta, timezone

from aw_client import ActivityWatchClient
from aw_core.models import Event

port, count = int(sys.argv[1]), int(sys.argv[2])


def cpu():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


client = ActivityWatchClient("bench-watcher", host="127.0.0.1", port=port)
start = datetime(2026, 1, 1, tzinfo=timezone.utc)
times = [(time.monotonic(), cpu())]
for n in range(count):
    # Other data each time: aw-client merges what is alike before it queues it.
    event = Event(timestamp=start + timedelta(seconds=10 * n), duration=5, data={"app": f"App {n % 20}", "title": f"window {n}"})
    client.heartbeat("aw-watcher-window_bench", event, pulsetime=1, queued=True, commit_interval=0)
times.append((time.monotonic(), cpu()))
client.connect()
while client.request_queue._persistqueue.qsize() > 0:
    time.sleep(0.01)
times.append((time.monotonic(), cpu()))
print(json.dumps({
    "collectMs": 1000 * (times[1][0] - times[0][0]),
    "drainMs": 1000 * (times[2][0] - times[1][0]),
    "collectCpu": times[1][1] - times[0][1],
    "drainCpu": times[2][1] - times[1][1],
    "peakRssMb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
}))
