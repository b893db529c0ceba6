"""The command line: each command a few lines that call the part which does the work."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from agent.cli import COMMANDS, simulate
from agent.ops.memory import keep_freed_memory
from agent.ops.systemd import survive_early_signals
from agent.settings.errors import ConfigError

EX_CONFIG = 78  # sysexits.h: systemd does not restart on it (RestartPreventExitStatus)

_EPILOG = """examples:
  agent --simulate                           three machines, one overheats; alerts on an MQTT broker of its own
  agent --simulate --duration 30s --speed 60
  agent check -c /etc/edge-agent/agent.toml  is the configuration right?
  agent run -c /etc/edge-agent/agent.toml    the service
  agent tail                                 show alerts as they come
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code: 0 done, 1 failed, 2 wrong usage, 78 wrong configuration."""
    survive_early_signals()
    keep_freed_memory()
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        chosen = parser(words).parse_args(words)
        code: int = chosen.func(chosen) or 0
    except ConfigError as error:
        for problem in error.problems:
            print(f"agent: {problem}", file=sys.stderr)  # noqa: T201
        return EX_CONFIG
    except BrokenPipeError:
        return 0
    except KeyboardInterrupt:
        return 130
    return code


def parser(words: Sequence[str]) -> argparse.ArgumentParser:
    """The parser of the command that `words` names, or of all commands."""
    top = argparse.ArgumentParser(
        prog="agent",
        description="Finds anomalies in the readings of machine sensors, beside the machines, and alerts subscribers.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action=_Version, nargs=0, help="show the installed version and exit")
    simulate.add_arguments(top)
    commands = top.add_subparsers(title="commands", metavar="COMMAND")
    named = next((word for word in words if word in COMMANDS), None)
    if named is not None:
        importlib.import_module(f"agent.cli.{named}").register(commands)
    elif "--simulate" not in words:
        for name, text in COMMANDS.items():
            commands.add_parser(name, help=text)
    return top


class _Version(argparse.Action):
    """Prints the version; it is looked up only then, since help has to come at once."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object, **__: object) -> None:
        from agent.ops.health import version_of_agent

        print(f"edge-agent {version_of_agent()}")  # noqa: T201
        parser.exit()
