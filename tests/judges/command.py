"""A round of scim2-cli at one tenant: create, query, search, modify, replace and delete a user, and a
group with members where the tenant has groups.

Every step says what it wants of the answer. A step that fails does not end the round, except a create:
without its id there is nothing to go on with.
"""

import json
import os
import re
import subprocess
import sys
import time
import uuid
from pathlib import Path

from tester import fresh_text

PROGRAM = Path(sys.executable).parent / "scim2"
TIMEOUT_S = 60
# Each call starts a Python: a line now and then says that it goes on.
SAY_EVERY_S = 2
# The attribute that is patched: the first of these that is published, else the first plain text.
PATCHED_FIRST = ("displayName", "title", "nickName")


class Lost(Exception):
    """A create failed."""


class Round:
    """One tenant, and what came of the steps so far."""

    def __init__(self, scim_url: str, token: str, values: dict):
        # No proxy: the demo listens on loopback.
        environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        # In the environment and not among the arguments, which every user of the machine can read.
        self.environment = {
            **environment,
            "SCIM_CLI_URL": scim_url,
            "SCIM_CLI_HEADERS": f"Authorization: Bearer {token}",
        }
        self.values = values
        self.steps = 0
        self.said = time.monotonic()
        self.failures: list[str] = []

    def call(self, *arguments: str) -> tuple[int, dict, str]:
        """Exit code, printed document, and what it complained of."""
        if time.monotonic() - self.said > SAY_EVERY_S:
            print(f"    step {self.steps}: {' '.join(arguments[:2])}", flush=True)
            self.said = time.monotonic()
        ran = subprocess.run(
            [PROGRAM, *arguments],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        try:
            document = json.loads(ran.stdout) if ran.stdout.strip() else {}
        except json.JSONDecodeError:
            document = {}
        complaint = ran.stderr.strip() or ran.stdout.strip()
        return ran.returncode, document, complaint

    def step(self, wanted: dict, *arguments: str) -> dict:
        """One call that must succeed with an answer that holds what is wanted; None is "not there"."""
        self.steps += 1
        code, document, complaint = self.call(*arguments)
        shown = f"scim2-cli: {' '.join(arguments)}"
        if code != 0:
            self.failures.append(f"{shown}: exit code {code}: {complaint[-1500:]}")
            return document
        for name, value in wanted.items():
            if document.get(name) != value:
                self.failures.append(f"{shown}: {name} is {document.get(name)!r}, not {value!r}")
        return document

    def create(self, wanted: dict, kind: str, *options: str) -> str:
        """Creates a resource and returns its id."""
        found = self.step(wanted, "create", kind, *options).get("id")
        if not found:
            raise Lost(f"scim2-cli: create {kind} gave no id; the rest of the round was left out")
        return found

    def gone(self, kind: str, resource_id: str) -> None:
        """Deletes a resource; a query for it must then fail with 404."""
        self.step({}, "delete", kind, resource_id)
        self.steps += 1
        code, document, complaint = self.call("query", kind, resource_id)
        if code == 0 or document.get("status") != "404":
            self.failures.append(
                f"scim2-cli: query {kind} after its deletion: exit code {code}, no 404: {complaint[-500:]}"
            )

    def finds(self, kind: str, filter_text: str, resource_id: str) -> None:
        """A filter, by GET and by POST, must find just this resource."""
        for verb in ("query", "search"):
            found = self.step({"totalResults": 1}, verb, kind, "--filter", filter_text)
            ids = [one.get("id") for one in found.get("Resources", [])]
            if ids != [resource_id]:
                self.failures.append(f"scim2-cli: {verb} {kind} --filter {filter_text}: {ids}, not [{resource_id!r}]")

    def fresh(self, name: str) -> str:
        """A new value of an attribute, as the vendor wants it."""
        value = self.values.get(name, "judge-{uuid}")
        return value[0] if isinstance(value, list) else fresh_text(value)

    def required(self, attributes: list[dict], but: str) -> list[str]:
        """Options for whatever else the tenant requires of a new resource."""
        options = []
        for attribute in attributes:
            parts = [one for one in attribute.get("subAttributes", []) if one["required"]]
            if attribute["name"] == but or attribute["mutability"] == "readOnly":
                continue
            if attribute["type"] == "string" and attribute["required"] and not attribute["multiValued"]:
                options += [option(attribute["name"]), self.fresh(attribute["name"])]
            elif parts and not attribute["multiValued"]:
                value = {one["name"]: self.fresh(f"{attribute['name']}.{one['name']}") for one in parts}
                options += [option(attribute["name"]), json.dumps(value)]
        return options

    def user(self, attributes: list[dict]) -> None:
        """A user's life."""
        patched = patchable(attributes)
        name, external_id = self.fresh("userName"), str(uuid.uuid4())
        required = self.required(attributes, "userName")
        wanted = {"userName": name, "externalId": external_id}
        options = ("--user-name", name, "--external-id", external_id, *required)
        user = self.create(wanted, "user", *options)
        self.step(wanted, "query", "user", user)
        self.finds("user", f'userName eq "{name}"', user)

        text = self.fresh(patched)
        self.step({}, "modify", "user", user, "replace", patched, text, "remove", "externalId")
        self.step({"userName": name, patched: text, "externalId": None}, "query", "user", user)

        name, text = self.fresh("userName"), self.fresh(patched)
        options = ("--user-name", name, option(patched), text, *without(required, option(patched)))
        self.step({"userName": name, patched: text}, "replace", "user", "--id", user, *options)
        self.step({"userName": name, patched: text}, "query", "user", user)
        self.gone("user", user)

    def group(self, user_attributes: list[dict], attributes: list[dict]) -> None:
        """A group's life, with two users who come and go as its members."""
        required = self.required(user_attributes, "userName")
        users = []
        for _ in range(2):
            name = self.fresh("userName")
            users.append(self.create({"userName": name}, "user", "--user-name", name, *required))
        first, second = users
        has_members = any(attribute["name"] == "members" for attribute in attributes)

        name = f"judge {uuid.uuid4()}"
        members = ("--members", json.dumps([{"value": first}])) if has_members else ()
        group = self.create({"displayName": name}, "group", "--display-name", name, *members)
        self.finds("group", f'displayName eq "{name}"', group)

        name = f"judge {uuid.uuid4()}"
        self.step({}, "modify", "group", group, "replace", "displayName", name)
        self.step({"displayName": name}, "query", "group", group)
        if has_members:
            self.holds(group, [first])
            self.step({}, "modify", "group", group, "add", "members", json.dumps([{"value": second}]))
            self.holds(group, [first, second])
            self.step({}, "modify", "group", group, "remove", f'members[value eq "{first}"]')
            self.holds(group, [second])

        name = f"judge {uuid.uuid4()}"
        self.step({"displayName": name}, "replace", "group", "--id", group, "--display-name", name)
        if has_members:
            self.holds(group, [])
        self.gone("group", group)
        for user in users:
            self.gone("user", user)

    def holds(self, group: str, users: list[str]) -> None:
        """The group must have just these members."""
        found = self.step({"id": group}, "query", "group", group)
        members = sorted(one.get("value", "") for one in found.get("members", []))
        if members != sorted(users):
            self.failures.append(f"scim2-cli: query group {group}: members {members}, not {sorted(users)}")


def option(attribute: str) -> str:
    """The option that scim2-cli makes of an attribute: `displayName` -> `--display-name`."""
    return "--" + re.sub(r"(?<!^)([A-Z])", r"-\1", attribute).lower()


def without(options: list[str], name: str) -> list[str]:
    """The pairs of an option and its value, less the named one."""
    pairs = zip(options[::2], options[1::2], strict=True)
    return [part for pair in pairs if pair[0] != name for part in pair]


def patchable(attributes: list[dict]) -> str:
    """A plain text attribute of the core schema."""
    plain = [
        one["name"]
        for one in attributes
        if one["type"] == "string" and one["mutability"] == "readWrite" and not one["multiValued"]
    ]
    plain.remove("userName")
    return next((name for name in PATCHED_FIRST if name in plain), plain[0])


def run(scim_url: str, token: str, values: dict) -> tuple[int, list[str]]:
    """The round: how many steps, and what failed."""
    tour = Round(scim_url, token, values)
    schemas = tour.step({}, "query", "schema").get("Resources", [])
    resource_types = tour.step({}, "query", "resourcetype").get("Resources", [])
    attributes = {schema["id"]: schema["attributes"] for schema in schemas}
    types = {one["name"]: attributes.get(one["schema"], []) for one in resource_types}
    try:
        tour.user(types["User"])
        if "Group" in types:
            tour.group(types["User"], types["Group"])
    except Lost as lost:
        tour.failures.append(str(lost))
    except KeyError as missing:
        tour.failures.append(f"scim2-cli: /ResourceTypes does not list {missing}")
    return tour.steps, tour.failures
