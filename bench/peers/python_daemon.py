"""The design of the Python daemon that the agent takes the place of, as a stand-in to measure against.

It reads ActivityWatch with `requests`, opens a connection and commits for each event, and sends batch by batch with
`requests`, taking each delivered event off its cache by a connection and a commit of its own. Its waits (one batch
every 300 s) are left out. Arguments: ActivityWatch's address, the server's, how many events, where they begin and how
long they take in all (ISO 8601, seconds). Prints what it took as JSON.
"""

import hashlib
import json
import os
import resource
import sqlite3
import sys
import tempfile
import time
from datetime import datetime, timedelta

import requests

aw, endpoint, count, start, seconds = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4], int(sys.argv[5])
BATCH = 500


def cpu():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def add(path, event):
    connection = sqlite3.connect(path)
    body = json.dumps(event, sort_keys=True)
    digest = hashlib.sha256(body.encode()).hexdigest()
    connection.execute("INSERT OR IGNORE INTO events (digest, body) VALUES (?, ?)", (digest, body))
    connection.commit()
    connection.close()


def take_off(path, row):
    connection = sqlite3.connect(path)
    connection.execute("DELETE FROM events WHERE id = ?", (row,))
    connection.commit()
    connection.close()


def collect(path, bucket):
    begin = datetime.fromisoformat(start)
    query = {"start": begin.isoformat(), "end": (begin + timedelta(seconds=seconds)).isoformat()}
    rows = requests.get(f"{aw}/api/0/buckets/{bucket}/events", params=query, timeout=60).json()
    for row in reversed(rows[-count:]):
        data = row["data"]
        add(path, {
            "timestamp": row["timestamp"],
            "type": "desktop_activity.window",
            "data": {"app": data["app"], "title": data["title"], "url": None, "duration_seconds": row["duration"]},
        })


def drain(path):
    while True:
        connection = sqlite3.connect(path)
        rows = connection.execute("SELECT id, body FROM events ORDER BY id LIMIT ?", (BATCH,)).fetchall()
        connection.close()
        if not rows:
            return
        payload = {
            "source_id": "default-device-01",
            "sent_at_timestamp_utc": datetime.utcnow().isoformat() + "+00:00",
            "events": [json.loads(body) for _, body in rows],
        }
        requests.post(endpoint, json=payload, headers={"Authorization": "Bearer bench"}, timeout=30).raise_for_status()
        for row, _ in rows:
            take_off(path, row)


with tempfile.TemporaryDirectory() as folder:
    path = os.path.join(folder, "cache.sqlite")
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE events (id INTEGER PRIMARY KEY AUTOINCREMENT, digest TEXT UNIQUE, body TEXT)")
    connection.commit()
    connection.close()
    bucket = next(iter(requests.get(f"{aw}/api/0/buckets/", timeout=10).json()))
    times = [(time.monotonic(), cpu())]
    collect(path, bucket)
    times.append((time.monotonic(), cpu()))
    drain(path)
    times.append((time.monotonic(), cpu()))
    print(json.dumps({
        "collectMs": 1000 * (times[1][0] - times[0][0]),
        "drainMs": 1000 * (times[2][0] - times[1][0]),
        "collectCpu": times[1][1] - times[0][1],
        "drainCpu": times[2][1] - times[1][1],
        "peakRssMb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }))
