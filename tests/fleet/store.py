"""The store of a fleet: moto, or the server of the tests, and a look into its bucket."""

import datetime
import hashlib
import hmac
import json
import os
import subprocess
import urllib.parse
import urllib.request
import xml.etree.ElementTree as xml
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ACCESS, SECRET, REGION, BUCKET = "test", "secret", "us-east-1", "lab"
EMPTY = hashlib.sha256(b"").hexdigest()


def double_program():
    if "S3_DOUBLE" in os.environ:
        return os.environ["S3_DOUBLE"]
    build = ["cargo", "build", "--quiet", "--locked", "-p", "icecore-testing-s3", "--bin", "s3-double"]
    subprocess.run(build, cwd=ROOT, check=True)
    told = subprocess.run(["cargo", "metadata", "--format-version", "1", "--no-deps"], cwd=ROOT, check=True, capture_output=True)
    return Path(json.loads(told.stdout)["target_directory"]) / "debug" / "s3-double"


# What goes wrong at the server of the tests. Lists are never stale: no store that icecore is for has such.
FAULTS = [
    {"fault": {"error": {"code": "InternalError", "status": 500}}, "rate": 0.01},
    {"fault": {"error": {"code": "SlowDown", "status": 503}}, "rate": 0.01},
    {"fault": {"error": {"code": "InternalError", "status": 500, "after": True}}, "operations": ["PutObject"], "rate": 0.02},
    {"fault": {"reset": {"after": True}}, "rate": 0.01},
    {"fault": {"reset": {"after": False}}, "rate": 0.01},
    {"fault": {"truncate": {"bytes": 100}}, "operations": ["GetObject"], "rate": 0.01},
    {"fault": {"slow": {"millis": 300}}, "rate": 0.02},
]


class Store:
    """A server, and its one bucket."""

    def __init__(self, kind, log, seed):
        self.kind, self.control = kind, None
        if kind == "moto":
            # `tests/moto/server` answers one request at a time, and says where.
            self.start([ROOT / "tests/moto/server"], log)
            self.endpoint = self.line()
            self.ask("PUT", f"/{BUCKET}")
        else:
            self.start([double_program(), "--bucket", BUCKET], log)
            self.endpoint = self.line().split()[1]
            self.control = self.line().split()[1]
            self.set_faults(FAULTS, seed)

    def start(self, command, log):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True)

    def line(self):
        line = self.process.stdout.readline().strip()
        if not line:
            raise RuntimeError(f"{self.kind} does not start")
        return line

    def set_faults(self, rules, seed=0):
        """Has the server of the tests make faults. moto makes none."""
        if self.control:
            body = json.dumps({"rules": rules, "seed": seed}).encode()
            urllib.request.urlopen(urllib.request.Request(f"{self.control}/_faults", data=body), timeout=60).close()

    def stop(self):
        self.process.kill()
        self.process.wait()

    def ask(self, method, path, query=()):
        """Sends a signed request without a body, and returns the answer's."""
        host = self.endpoint.split("//")[1]
        now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
        scope = f"{now[:8]}/{REGION}/s3/aws4_request"
        query = urllib.parse.urlencode(sorted(query), quote_via=urllib.parse.quote)
        signed = {"host": host, "x-amz-content-sha256": EMPTY, "x-amz-date": now}
        names = ";".join(signed)
        heads = "".join(f"{name}:{value}\n" for name, value in signed.items())
        request = "\n".join([method, path, query, heads, names, EMPTY])
        text = "\n".join(["AWS4-HMAC-SHA256", now, scope, hashlib.sha256(request.encode()).hexdigest()])
        key = b"AWS4" + SECRET.encode()
        for part in scope.split("/"):
            key = hmac.digest(key, part.encode(), "sha256")
        signature = hmac.digest(key, text.encode(), "sha256").hex()
        signed["authorization"] = f"AWS4-HMAC-SHA256 Credential={ACCESS}/{scope}, SignedHeaders={names}, Signature={signature}"
        address = f"{self.endpoint}{path}" + (f"?{query}" if query else "")
        with urllib.request.urlopen(urllib.request.Request(address, headers=signed, method=method), timeout=60) as answer:
            return answer.read()

    def objects(self):
        """Returns all objects of the bucket, with their lengths in bytes."""
        objects, token = {}, None
        while True:
            query = [("list-type", "2")] + ([("continuation-token", token)] if token else [])
            answer = xml.fromstring(self.ask("GET", f"/{BUCKET}", query))
            space = answer.tag.partition("}")[0] + "}"
            for entry in answer.iter(f"{space}Contents"):
                objects[entry.find(f"{space}Key").text] = int(entry.find(f"{space}Size").text)
            token = answer.findtext(f"{space}NextContinuationToken")
            if not token:
                return objects
