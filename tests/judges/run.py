"""Starts the demo with nothing in it and lets the foreign judges loose on each of its tenants.

Exit code 0 only if every check of scim2-tester and every step of the scim2-cli round passed, if no
fewer checks ran than the published schemas call for, and if at least one tenant has groups: an empty
run is a failure. Run by scripts/judges, in the virtual environment that it makes.

Absent on purpose: a list of checks to leave out. What a vendor takes and /Schemas cannot say (a mail
address as userName) stands with its connector, in connectors/NAME/tests/judge.json.
"""

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import command
import tester

PROJECT = Path(__file__).resolve().parents[2]

READY_WITHIN_S = 120
STOP_WITHIN_S = 20
# Far above any honest run: whoever hangs must not hang CI.
WHOLE_RUN_S = 900


class Stopped(BaseException):
    """A signal or the alarm ended the run. Not an Exception: the judges take those for findings."""


def stop_on_signal(number, _frame):
    name = "the time for the whole run is over" if number == signal.SIGALRM else signal.Signals(number).name
    raise Stopped(name)


class Demo:
    """The demo as a child process; gone, with its gateway, when the `with` block ends."""

    def __init__(self, program: str):
        self.program = program
        self.folder = tempfile.TemporaryDirectory(prefix="judges-")
        self.log = Path(self.folder.name) / "demo.log"
        self.process = None

    def __enter__(self) -> "Demo":
        return self

    def start(self) -> list[dict]:
        """Starts it and returns the tenants of its ready file."""
        ready = Path(self.folder.name) / "ready.json"
        arguments = [self.program, "--empty", "--instant", "--ready-file", str(ready)]
        with self.log.open("wb") as log:
            # A session of its own: a Ctrl-C reaches this program only, which ends the demo in order.
            self.process = subprocess.Popen(
                arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        started = time.monotonic()
        while not ready.exists():
            if self.process.poll() is not None:
                raise RuntimeError(f"the demo ended with {self.process.returncode}:\n{self.log.read_text()}")
            if time.monotonic() - started > READY_WITHIN_S:
                raise RuntimeError(f"the demo is not ready after {READY_WITHIN_S} s:\n{self.log.read_text()}")
            time.sleep(0.05)
        return json.loads(ready.read_text())["tenants"]

    def __exit__(self, *_) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.send_signal(signal.SIGINT)
            if not self.has_ended_within(STOP_WITHIN_S):
                print(f"the demo does not stop within {STOP_WITHIN_S} s: killing it", file=sys.stderr)
        if self.process is not None:
            # Nothing stays of its session, also when it ended without its gateway.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.folder.cleanup()

    def has_ended_within(self, seconds: float) -> bool:
        """Waits for its end but leaves it unreaped, so that its number cannot be anybody else's yet."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None:
                return True
            time.sleep(0.02)
        return False


def values_of(app: str) -> dict:
    """What the app's vendor wants as values: path -> text with `{uuid}` in it, or a list of choices."""
    file = PROJECT / "connectors" / app / "tests" / "judge.json"
    return json.loads(file.read_text())["values"] if file.is_file() else {}


def judge(tenant: dict) -> tuple[int, int, list[str], set[str]]:
    """Both judges at one tenant: checks, steps, failures, resource types."""
    url, token = tenant["scim_url"], tenant["token"]
    title = f"{tenant['name']} ({tenant['app']})"
    values = values_of(tenant["app"])
    failures = []

    print(f"{title}: scim2-tester …", flush=True)
    started = time.monotonic()
    checks, resource_types = 0, set()
    try:
        checks, failed, resource_types = tester.run(url, token, values)
        failures += failed
        took = time.monotonic() - started
        names = ", ".join(sorted(resource_types))
        print(f"    {checks} checks of {names}, {len(failed)} failed, in {took:.1f} s")
    except Exception as error:
        failures.append(f"scim2-tester: did not run: {error!r}")

    print(f"{title}: scim2-cli …", flush=True)
    started = time.monotonic()
    steps = 0
    try:
        steps, failed = command.run(url, token, values)
        failures += failed
        print(f"    {steps} steps, {len(failed)} failed, in {time.monotonic() - started:.1f} s", flush=True)
    except Exception as error:
        failures.append(f"scim2-cli: did not run: {error!r}")
    return checks, steps, [f"{tenant['name']}: {failure}" for failure in failures], resource_types


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--demo", required=True, help="the demo program")
    program = arguments.parse_args().demo

    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGALRM):
        signal.signal(number, stop_on_signal)
    signal.alarm(WHOLE_RUN_S)

    checks, steps, failures, seen = 0, 0, [], set()
    with Demo(program) as demo:
        print("Starting the demo, empty and with instant vendors …", flush=True)
        tenants = demo.start()
        for tenant in tenants:
            more_checks, more_steps, more_failures, resource_types = judge(tenant)
            checks, steps = checks + more_checks, steps + more_steps
            failures += more_failures
            seen |= resource_types
    for needed in ("User", "Group"):
        if needed not in seen:
            failures.append(f"no tenant of the demo has the resource type {needed}: nothing has judged it")

    for failure in failures:
        print(f"FAILED {failure}")
    print(
        f"judges: scim2-tester {checks} checks, scim2-cli {steps} steps, {len(tenants)} tenants, {len(failures)} failed"
    )
    return 1 if failures else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("judges: interrupted; the demo is stopped")
    except (Stopped, RuntimeError) as error:
        sys.exit(f"judges: {error}")
