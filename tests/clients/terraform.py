"""What Terraform's provider for DigitalOcean asks, resource by resource, and what it has to be told.

The provider comes from a registry that a test cannot count on. `terraform/` holds its requests, as it and godo make
them, and the answers that keep its state: the second plan is empty if what it reads again is the same.

An expected object may have more members than are named, a list has these elements. `"$name"` is a value that is learnt
where it is met first and the same from then on; in a text it is `${name}`. `"~pattern"` is a text that fits.
"""

import json
import pathlib
import re
import sys

from server import KEY
from server import server
from server import wait_for

HERE = pathlib.Path(__file__).parent / "terraform"
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]


class Differs(Exception):
    pass


def filled(value, known):
    """Returns a value of a recorded request with what is known by now."""
    match value:
        case str() if re.fullmatch(r"\$\w+", value):
            return known[value[1:]]
        case str():
            return re.sub(r"\$\{(\w+)\}", lambda name: str(known[name[1]]), value)
        case list():
            return [filled(one, known) for one in value]
        case dict():
            return {name: filled(one, known) for name, one in value.items()}
    return value


def compare(expected, got, known, at="answer"):
    """Compares an answer with what is expected, and learns from it."""
    match expected:
        case str() if re.fullmatch(r"\$\w+", expected):
            if got is None or known.setdefault(expected[1:], got) != got:
                raise Differs(f"{at} is {got!r}, and {expected} is {known.get(expected[1:])!r}")
        case str() if expected.startswith("~"):
            if not isinstance(got, str) or not re.search(expected[1:], got):
                raise Differs(f"{at} is {got!r} and does not fit {expected[1:]}")
        case {"one with": wanted}:
            if not any(fits(wanted, one, known) for one in got):
                raise Differs(f"{at} has none with {wanted}: {got}")
        case {"in any order": wanted}:
            left = list(got)
            for one in wanted:
                found = next((index for index, there in enumerate(left) if fits(one, there, known)), None)
                if found is None:
                    raise Differs(f"{at} lacks {one}: {got}")
                left.pop(found)
            if left:
                raise Differs(f"{at} has also {left}")
        case dict():
            if not isinstance(got, dict):
                raise Differs(f"{at} is {got!r}")
            for name, wanted in expected.items():
                if name not in got:
                    raise Differs(f"{at} has no {name}: {got}")
                compare(wanted, got[name], known, f"{at}.{name}")
        case list():
            if not isinstance(got, list) or len(got) != len(expected):
                raise Differs(f"{at} is {got!r}, not of {len(expected)}")
            for index, (wanted, one) in enumerate(zip(expected, got)):
                compare(wanted, one, known, f"{at}[{index}]")
        case _:
            wanted = filled(expected, known)
            if got != wanted or isinstance(got, bool) != isinstance(wanted, bool):
                raise Differs(f"{at} is {got!r}, not {wanted!r}")


def fits(wanted, got, known):
    learnt = dict(known)
    try:
        compare(wanted, got, learnt)
    except Differs:
        return False
    known.update(learnt)
    return True


class Provider:
    def __init__(self, one):
        self.one, self.token, self.before = one, one.token(), {}

    def ask(self, method, path, body):
        return self.one.ask(self.token, method, path, body)

    def make(self, call, known):
        """Makes one call and compares the answer."""
        [method] = [method for method in METHODS if method in call]
        path = filled(call[method], known)
        body = filled(call.get("body"), known)
        status, answer = self.ask(method, path, body)
        if "until" in call:
            last = [status, answer]

            def is_so():
                last[:] = self.ask(method, path, body)
                return fits(call["until"], last[1], known)

            if not fits(call["until"], answer, known):
                wait_for(is_so)
                status, answer = last
        where = f"{method} {path}"
        if status != call.get("status", 200):
            raise Differs(f"{where}: status {status}: {answer}")
        if call.get("same") and answer != self.before[path]:
            raise Differs(f"{where}: the second answer differs:\n  {self.before[path]}\n  {answer}")
        if method == "GET":
            self.before[path] = answer
        try:
            compare(call.get("answer", {}), answer or {}, known, where)
        except Differs as error:
            raise Differs(f"{error}\nall of it: {json.dumps(answer)}") from None


def play(file):
    """Makes the calls of a resource, against a server of its own. Returns what went wrong."""
    recorded = json.loads(file.read_text())
    with server() as one:
        provider = Provider(one)
        # What the recorded requests take as given.
        image, url = one.imported(provider.token)
        known = {"key": KEY, "image": image, "image_url": url}
        for step, calls in recorded["steps"].items():
            try:
                for call in calls:
                    provider.make(call, known)
            except (Differs, AssertionError) as error:
                return f"terraform: {recorded['resource']}: {step}: {error}"
    print(f"terraform: {recorded['resource']}: {len(recorded['steps'])} steps")
    return None


wrong = [error for file in sorted(HERE.glob("*.json")) if (error := play(file))]
sys.exit("\n".join(wrong) or 0)
