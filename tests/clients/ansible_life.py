"""Ansible's modules for DigitalOcean (community.digitalocean): a playbook, and the end of what it made, twice each."""

import json
import os
import pathlib
import re
import subprocess
import sys

from server import KEY
from server import server

HERE = pathlib.Path(__file__).parent

def play(one, token, name, variables):
    """Plays a playbook and returns how many of its tasks were done, changed something, and were left out."""
    played = subprocess.run(
        [pathlib.Path(sys.executable).with_name("ansible-playbook"), HERE / "ansible" / name,
         "--extra-vars", json.dumps(variables)],
        capture_output=True, text=True, cwd=one.dir,
        env={**os.environ, "BASE_URL": f"{one.url}/v2", "DO_API_TOKEN": token, "ANSIBLE_HOME": str(one.dir / "ansible"),
             "ANSIBLE_PYTHON_INTERPRETER": sys.executable, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_LOCALHOST_WARNING": "0",
             "ANSIBLE_INVENTORY_UNPARSED_WARNING": "0", "LC_ALL": "C.UTF-8"},
    )
    recap = re.search(r"ok=(\d+) +changed=(\d+) +unreachable=0 +failed=0 +skipped=(\d+)", played.stdout)
    assert played.returncode == 0 and recap, f"{name} failed:\n{played.stdout}\n{played.stderr}"
    return [int(number) for number in recap.groups()]


with server() as one:
    token = one.token()
    variables = {"image": str(one.imported(token)[0]), "key": KEY}
    for name in ["life.yml", "gone.yml"]:
        done, changed, left_out = play(one, token, name, variables)
        assert changed > 0 and left_out == 0, (name, done, changed, left_out)
        again = play(one, token, name, variables)
        assert again[1] == 0, f"{name} changed {again[1]} things the second time"
        print(f"ansible: {name}: {done} tasks, {changed} changed something, none the second time")
    left = {kind: one.ask(token, "GET", f"/{kind}")[1][kind] for kind in ["droplets", "volumes", "snapshots", "tags"]}
    assert not any(left.values()), left
