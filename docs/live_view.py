"""Draws docs/live-view.svg from a real run of the live view.

tmux new-session -d -s picture -x 112 -y 22 '.venv/bin/python -m agent --simulate --speed 5'
tmux capture-pane -e -p -t picture | python docs/live_view.py
"""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

if __name__ == "__main__":
    screen = Text.from_ansi(sys.stdin.read().rstrip())
    console = Console(record=True, width=112, file=io.StringIO())
    console.print(screen)
    picture = console.export_svg(title="make demo")
    picture = re.sub(r"@font-face {.*?}", "", picture, flags=re.DOTALL)  # no font from the network
    Path(__file__).with_name("live-view.svg").write_text(picture)
