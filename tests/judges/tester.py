"""scim2-tester at one tenant: every check that it knows, and a count of how many there must be.

A check that is skipped has not passed. The number of checks follows from what the tenant publishes;
it is reckoned from the raw /Schemas and /ResourceTypes here, not with the judge's own models, so that
a judge that finds nothing to check is noticed.
"""

import random
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from httpx2 import Client
from scim2_client.engines.httpx2 import SyncSCIMClient
from scim2_models import Path, ScimProvider
from scim2_tester import Status, check_server

TIMEOUT_S = 30
REASON_CHARACTERS_MAX = 1500


class Fresh(Sequence):
    """Examples that never end: the judge picks "one of them" and gets a new value each time."""

    def __init__(self, make):
        self.make = make

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> Any:
        if index != 0:
            raise IndexError(index)
        return self.make()


def fresh_text(template: str) -> str:
    """The text with a new UUID for `{uuid}`."""
    return template.replace("{uuid}", str(uuid.uuid4()))


def some_time() -> datetime:
    return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=random.randrange(10**7))


def describe(provider: ScimProvider, values: dict) -> None:
    """Tells the judge what values look like, by the `examples` of its models, where it looks first.

    It has no values of its own for dateTime and decimal, and cannot guess what only the vendor knows.
    """
    models = [provider.model_for(resource_type) for resource_type in provider.resource_types]
    for model in models:
        for path in Path[model].iter_paths(include_subattributes=True):
            binding = path.resolve()
            if binding is None or binding.target_model is None:
                continue
            field = binding.target_model.model_fields[binding.target_field_name]
            if binding.target_type is datetime:
                field.examples = Fresh(some_time)
            elif binding.target_type is float:
                field.examples = Fresh(lambda: random.randrange(1000) / 4)
    for name, value in values.items():
        bindings = [Path[model](name).resolve() for model in models]
        known = [binding for binding in bindings if binding is not None]
        if not known:
            raise RuntimeError(f"judge.json names {name}, which /Schemas does not publish")
        for binding in known:
            field = binding.target_model.model_fields[binding.target_field_name]
            field.examples = value if isinstance(value, list) else Fresh(lambda text=value: fresh_text(text))


def checks_due(schemas: list[dict], resource_types: list[dict]) -> int:
    """How many checks scim2-tester 0.5.2 makes of what is published."""
    attributes = {schema["id"]: schema["attributes"] for schema in schemas}
    # ServiceProviderConfig 5, ResourceTypes 6 and 2 for each, Schemas 6 and 1 for each, an unknown URL.
    due = 18 + 2 * len(resource_types) + len(schemas)
    # RFC 7643 section 3.1: every resource has it, no schema lists it.
    external_id = {"name": "externalId", "mutability": "readWrite", "required": False, "returned": "default"}
    for resource_type in resource_types:
        core = [external_id]
        core += [one for one in attributes[resource_type["schema"]] if one["name"] != "externalId"]
        extensions = [extension["schema"] for extension in resource_type.get("schemaExtensions", [])]
        # Of an extension the whole is patched, then each attribute.
        whole = [{**external_id, "name": extension} for extension in extensions]
        every = core + whole + [one for extension in extensions for one in attributes[extension]]
        writable = [one for one in every if one["mutability"] != "readOnly"]
        added = [one for one in writable if not one["required"]]
        # Removed is what can be seen to be gone; what is immutable is neither removed nor replaced.
        seen = [one for one in added if one["returned"] in ("always", "default")]
        removed = [one for one in seen if one["mutability"] == "readWrite"]
        replaced = [one for one in writable if one["mutability"] != "immutable"]
        # `attributes` and `excludedAttributes`, each with GET of one, GET of all and POST /.search.
        shown = [one for one in core + whole if one in added and one["returned"] == "default"]
        due += 5 + 3 * min(2, len(shown)) + len(added) + len(removed) + len(replaced)
    return due


def shorten(value: Any) -> str:
    text = str(value)
    return text if len(text) <= REASON_CHARACTERS_MAX else text[:REASON_CHARACTERS_MAX] + " …"


def run(scim_url: str, token: str, values: dict) -> tuple[int, list[str], set[str]]:
    """All checks: how many ran, what failed and why, and which resource types were checked."""
    headers = {"Authorization": f"Bearer {token}"}
    with Client(base_url=scim_url, headers=headers, timeout=TIMEOUT_S, trust_env=False) as http:
        schemas = http.get("/Schemas").raise_for_status().json()["Resources"]
        resource_types = http.get("/ResourceTypes").raise_for_status().json()["Resources"]
        client = SyncSCIMClient(http)
        client.discover()
        # Held here: the judge composes its models anew and finds these again only while they live.
        provider = client.provider
        describe(provider, values)
        results = check_server(client)

    failures = []
    for result in results:
        if result.status != Status.SUCCESS:
            place = " ".join(part for part in (result.resource_type, result.title) if part)
            data = "" if result.data is None else f"\n    {shorten(result.data)}"
            failures.append(f"scim2-tester: {place}: {result.status.name}: {shorten(result.reason)}{data}")
    due = checks_due(schemas, resource_types)
    if len(results) < due:
        failures.append(f"scim2-tester: {len(results)} checks ran where /Schemas calls for {due}")
    return len(results), failures, {resource_type["name"] for resource_type in resource_types}
