"""`agent check`: is the configuration right?"""

from __future__ import annotations

import argparse
import json
import os
import sys

from agent.cli import Commands, add_command, add_config, pipeline_of
from agent.runtime.data_watch import config_warnings
from agent.settings.registry import ConfigError
from agent.settings.settings import unknown_variables
from agent.settings.trials import trial

_EXAMPLES = """  agent check -c config/serial.toml
  agent check -c config/serial.toml --json | jq .problems"""


def register(commands: Commands) -> None:
    """Add the command."""
    command = add_command(commands, "check", check, _EXAMPLES)
    add_config(command)
    command.add_argument("--json", action="store_true", help="print one JSON object")


def check(arguments: argparse.Namespace) -> int:
    """Build everything, open nothing; parts that are not built in are tried for a moment."""
    problems: list[str] = []
    warnings = [f"environment: {problem}" for problem in unknown_variables(os.environ)]
    summary: dict[str, list[str]] = {}
    try:
        pipeline = pipeline_of(arguments)
    except ConfigError as error:
        problems = [
            p if p.startswith(str(arguments.config)) else f"{arguments.config}: {p}" for p in error.problems
        ]
    else:
        summary = {
            "sources": list(pipeline.sources), "windows": list(pipeline.settings.window),
            "detectors": list(pipeline.settings.detector), "rules": list(pipeline.settings.rule),
            "sinks": list(pipeline.sinks),
        }  # fmt: skip
        warnings += [f"{arguments.config}: {warning}" for warning in config_warnings(pipeline)]
        for made in pipeline.outside:
            problems += [f"{arguments.config}: {made.path}: {made.word} {p}" for p in trial(made.kind, made.part)]
    if arguments.json:
        print(json.dumps({"ok": not problems, "problems": problems, "warnings": warnings, **summary}))  # noqa: T201
        return 78 if problems else 0
    for line in problems + warnings:
        print(line, file=sys.stderr)  # noqa: T201
    if not problems:
        counts = ", ".join(
            f"{len(names)} {kind.removesuffix('s') if len(names) == 1 else kind}" for kind, names in summary.items()
        )
        print(f"{arguments.config}: right ({counts})")  # noqa: T201
    return 78 if problems else 0
