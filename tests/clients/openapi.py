"""The OpenAPI document against the answers: schemathesis sends what the document allows, and what it does not, to every path."""

import os
import subprocess
import sys

from server import file_system
from server import server

EXAMPLES = os.environ.get("ICECORE_OPENAPI_EXAMPLES", "5")

with server() as one:
    token = one.token()
    file_system(one.images / "debian.raw", 64, {"hostname": b"original\n"})
    # Bounded in number, repeatable, and to this machine only.
    done = subprocess.run([
        os.path.join(os.path.dirname(sys.executable), "schemathesis"), "run", f"{one.url}/openapi.json",
        "--url", one.url, "--header", f"Authorization: Bearer {token}",
        "--checks", "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance",
        "--phases", "examples,coverage,fuzzing", "--max-examples", EXAMPLES, "--seed", "1", "--workers", "1",
        "--generation-database", "none", "--request-timeout", "30", "--no-color",
    ])
sys.exit(done.returncode)
