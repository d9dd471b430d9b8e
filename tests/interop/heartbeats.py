"""Plays ActivityWatch's watchers with the real aw-client: reads one JSON command a line on stdin and answers
each with one JSON line on stdout, `{"ok": true, ...}` or `{"ok": false, "error": "..."}`.

    heartbeats.py HOST PORT

Commands (times are ISO 8601, durations and pulsetimes seconds):

    {"op": "bucket", "bucket", "type", "hostname"?, "client"?}          create a bucket at once
    {"op": "beat", "bucket", "pulsetime", "beats": [[time, data], ...], "queued"?, "type"?, "client"?}
    {"op": "insert", "bucket", "events": [{"timestamp", "duration", "data"}, ...]}
    {"op": "simulate", "buckets": {"window", "afk", "web"}, "start", "hours", "seed", "queued"?}
    {"op": "live", "buckets": {...}, "seed", "queued"?, "pulsetime"?}   beat in real time until "rest"
    {"op": "rest"}                                                      end "live"; tells how many beats failed
    {"op": "flush", "timeout"?}                                         wait until the disk queues are empty
    {"op": "disconnect"}                                                stop the queues, leave their files

Whatever goes through a queue is kept on disk by aw-client while the server is down and is delivered after it is
back, in a new process as well.
"""

import json
import logging
import random
import sys
import threading
import time
from datetime import datetime, timedelta, timezone

from aw_client import ActivityWatchClient
from aw_core.models import Event

# aw-client logs whole events when it cannot send them, and stderr is the test's own.
logging.disable(logging.CRITICAL)

WINDOW_PULSE, AFK_PULSE, WEB_PULSE = 2.0, 185.0, 80.0
AFK_TIMEOUT, AFK_POLL = 180.0, 5.0
MS = timedelta(milliseconds=1)

# What the tests look for in logs: every title and URL of a simulation carries it.
CANARY = "kanarie"
TITLES = [
    "main.ts - project",
    "Inbox (3) — Mail",
    "日本語のタイトル",
    "مستند جديد",
    "Emoji 👩‍👩‍👧 🏳️‍🌈",
    "tab\there \"quoted\" \\ back/slash",
    "line\nbreak\u2028separator",
    "e\u0301 is not \u00e9",
]
APPS = ["Code", "Firefox", "Terminal", "Élan", "微信"]


class Watchers:
    def __init__(self, host, port):
        self.host, self.port = host, port
        self.clients = {}
        self.connected = set()
        self.resting = threading.Event()
        self.threads = []
        self.failed = 0
        self.sent = 0

    def client(self, name="aw-watcher-window", queued=False):
        if name not in self.clients:
            client = ActivityWatchClient(name, host=self.host, port=self.port)
            client.commit_interval = 10
            client.request_queue._attempt_reconnect_interval = 0.3
            self.clients[name] = client
        if queued and name not in self.connected:
            self.clients[name].connect()
            self.connected.add(name)
        return self.clients[name]

    def bucket(self, bucket, type, hostname=None, client="aw-watcher-window"):
        aw = self.client(client)
        own = aw.client_hostname
        aw.client_hostname = own if hostname is None else hostname
        try:
            aw.create_bucket(bucket, type)
        finally:
            aw.client_hostname = own

    def beat(self, bucket, pulsetime, beats, queued=False, type=None, client="aw-watcher-window"):
        aw = self.client(client)
        if queued and type is not None:
            aw.create_bucket(bucket, type, queued=True)
        if queued:
            self.client(client, queued=True)
        for at, data in beats:
            aw.heartbeat(bucket, Event(timestamp=at, data=data), pulsetime=pulsetime, queued=queued)
        return {"beats": len(beats)}

    def insert(self, bucket, events, client="aw-watcher-window"):
        aw = self.client(client)
        for at in range(0, len(events), 1000):
            aw.insert_events(bucket, [Event(**event) for event in events[at : at + 1000]])
        return {"events": len(events)}

    def simulate(self, buckets, start, hours, seed, queued=True):
        """A stretch of a working day as the three watchers see it, with times of the past."""
        begin = datetime.fromisoformat(start.replace("Z", "+00:00"))
        length = hours * 3600.0
        if "window" in buckets:
            self._simulate_window(buckets["window"], begin, length, random.Random(seed), queued)
        if "afk" in buckets:
            self._simulate_afk(buckets["afk"], begin, length, random.Random(seed + 1), queued)
        if "web" in buckets:
            self._simulate_web(buckets["web"], begin, length, random.Random(seed + 2), queued)
        return {"sent": self.sent}

    def _send(self, name, bucket, at, data, pulsetime, queued):
        client = self.client(name, queued=queued)
        client.heartbeat(bucket, Event(timestamp=at, data=data), pulsetime=pulsetime, queued=queued)
        self.sent += 1

    def _simulate_window(self, bucket, begin, length, rng, queued):
        at, left, data = 0.0, 0.0, {}
        while at < length:
            if left <= 0:
                left = rng.choice([0.5, 1, 1, 2, 3, 4, 6, 8, 15, 40, 120])
                data = {"app": rng.choice(APPS), "title": f"{rng.choice(TITLES)} {CANARY}"}
            self._send("aw-watcher-window", bucket, begin + timedelta(seconds=at), data, WINDOW_PULSE, queued)
            step = 1.0 + rng.random() * 0.1
            if rng.random() < 0.002:
                step += rng.choice([3, 60, 300])  # asleep
            at, left = at + step, left - step

    def _simulate_afk(self, bucket, begin, length, rng, queued):
        # As aw-watcher-afk does it: a beat carries the time of the last input, and going away is told
        # late, with a time that lies back by the timeout.
        at, last_input, away, idle_until = 0.0, 0.0, False, 0.0

        def send(seconds, status):
            when = begin + timedelta(seconds=seconds)
            self._send("aw-watcher-afk", bucket, when, {"status": status}, AFK_PULSE, queued)

        while at < length:
            if at >= idle_until:
                last_input = at - rng.random()
                if rng.random() < 0.01:
                    idle_until = at + rng.choice([100, 181, 400, 3000])
            since = at - last_input
            if away and since < AFK_TIMEOUT:
                send(last_input, "afk")
                away = False
                send(last_input + 0.001, "not-afk")
            elif not away and since >= AFK_TIMEOUT:
                send(last_input, "not-afk")
                away = True
                send(last_input + 0.001, "afk")
            elif away:
                send(at, "afk")
            else:
                send(last_input, "not-afk")
            at += AFK_POLL

    def _simulate_web(self, bucket, begin, length, rng, queued):
        at = 0.0
        while at < length:
            page = rng.randrange(60)
            data = {
                "url": f"https://{CANARY}.example/{page}?q=ü#{page}",
                "title": f"{rng.choice(TITLES)} {page}",
                "audible": rng.random() < 0.2,
                "incognito": False,
                "tabCount": rng.randrange(1, 30),
            }
            stay = rng.choice([0, 0.2, 1, 3, 8, 30, 200])
            until = at + stay
            while at <= until:
                self._send("aw-watcher-web", bucket, begin + timedelta(seconds=at), data, WEB_PULSE, queued)
                at += 60.0
            at = until + 0.4

    def live(self, buckets, seed, queued=True, pulsetime=2.0):
        self.resting.clear()
        for kind, bucket in buckets.items():
            thread = threading.Thread(
                target=self._live, args=(kind, bucket, random.Random(f"{seed}{kind}"), queued, pulsetime), daemon=True
            )
            thread.start()
            self.threads.append(thread)

    def _live(self, kind, bucket, rng, queued, pulsetime):
        name = f"aw-watcher-{kind}"
        until, data = 0.0, {}
        while not self.resting.is_set():
            now = datetime.now(timezone.utc)
            if time.monotonic() >= until:
                until = time.monotonic() + rng.choice([0.1, 0.5, 1.0, 3.0, 7.0])
                number = rng.randrange(10**9)
                data = {
                    "window": {"app": rng.choice(APPS), "title": f"{rng.choice(TITLES)} {CANARY} {number}"},
                    "afk": {"status": "afk" if data.get("status") == "not-afk" else "not-afk"},
                    "web": {"url": f"https://{CANARY}.example/{number}", "title": rng.choice(TITLES)},
                }[kind]
                if kind == "afk":
                    now -= timedelta(milliseconds=rng.randrange(200))  # told late
            client = self.client(name, queued=queued)
            client.commit_interval = 0.7
            try:
                client.heartbeat(bucket, Event(timestamp=now, data=data), pulsetime=pulsetime, queued=queued)
                self.sent += 1
            except Exception:
                self.failed += 1
            self.resting.wait(0.25)

    def rest(self):
        self.resting.set()
        for thread in self.threads:
            thread.join()
        self.threads = []
        return {"sent": self.sent, "failed": self.failed}

    def flush(self, timeout=60):
        deadline = time.monotonic() + timeout
        for name in self.connected:
            queue = self.clients[name].request_queue
            while queue._persistqueue.qsize() > 0 or queue._current is not None:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{queue._persistqueue.qsize()} requests still in the queue of {name}")
                time.sleep(0.02)

    def disconnect(self):
        for name in self.connected:
            self.clients[name].disconnect()
        self.connected.clear()


def main():
    watchers = Watchers(sys.argv[1], int(sys.argv[2]))
    for line in sys.stdin:
        command = json.loads(line)
        try:
            answer = getattr(watchers, command.pop("op"))(**command) or {}
            print(json.dumps({"ok": True, **answer}), flush=True)
        except Exception as error:
            print(json.dumps({"ok": False, "error": f"{type(error).__name__}: {error}"}), flush=True)


if __name__ == "__main__":
    main()
