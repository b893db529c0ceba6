"""Writes the checkpoint as agents up to format 1 did."""

import json

import numpy as np


def save(path, state, version=1):
    """Write `state` (dicts, lists, numbers, strings, arrays) to `path`."""
    arrays = []
    document = json.dumps({"version": version, "state": _strip(state, arrays)}).encode()
    named = {f"a{number}": array for number, array in enumerate(arrays)}
    with open(path, "wb") as file:
        np.savez(file, allow_pickle=False, document=np.frombuffer(document, np.uint8), **named)


def _strip(value, arrays):
    if isinstance(value, np.ndarray):
        arrays.append(value)
        return {"$array": len(arrays) - 1}
    if isinstance(value, dict):
        return {"$items": [[_strip(key, arrays), _strip(item, arrays)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        return [_strip(item, arrays) for item in value]
    return value.item() if isinstance(value, np.generic) else value
