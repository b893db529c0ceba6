"""What a saved state must have in common with a part to fit it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from agent.core.files import FromFile
from agent.core.series import Stateful
from agent.settings.former_keys import as_before
from agent.settings.settings import Table


def fingerprints(
    tables: Mapping[str, Table], steps: Mapping[str, Stateful], rules: Mapping[str, Stateful]
) -> dict[str, str]:
    """Name of a step or rule -> hash of its configuration and of all it stands on.

    A step's hash has the state versions in it, too, and what was in the files that it names, its own and those of the
    steps it reads, whose numbers it has learnt; a rule's only its own: its open incidents stay when a detector below
    begins anew. Versions of 1 leave the hash as it was before there were versions.

    Args:
        tables: configuration of each step and rule.
        steps: windows and detectors made of them.
        rules: made of them.
    """
    prints = {}
    for name in tables:
        chain, at = [], name
        while at in tables and at not in chain:
            chain.append(at)
            at = str(tables[at].get("on", ""))
        text = json.dumps([[link, as_before(tables[link])] for link in chain], sort_keys=True, default=str)
        parts = [rules.get(name)] if name in rules else [steps.get(link) for link in chain]
        versions = [part.versions() if part is not None else {} for part in parts]
        text += json.dumps(versions, sort_keys=True) if any(versions) else ""
        text += "".join(digest for part in parts for digest in _files(part))
        prints[name] = hashlib.sha256(text.encode()).hexdigest()[:16]
    return prints


def _files(part: Any) -> list[str]:
    """Digests of the files that a part was made of."""
    fields = dataclasses.fields(part) if dataclasses.is_dataclass(part) else ()
    values = [getattr(part, field.name) for field in fields if field.init]
    return [value.digest for value in values if isinstance(value, FromFile)]
