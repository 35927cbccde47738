"""The fixture that runs the built command."""

from __future__ import annotations

import json
import subprocess

import pytest

from support_command import COMMAND, CONFIG


@pytest.fixture
def run(tmp_path):
    """Return a function that runs the command in an empty folder."""

    def call(*arguments, status=0, **more):
        result = subprocess.run(
            [COMMAND, *map(str, arguments)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
            **more,
        )
        assert result.returncode == status, (arguments, result.stdout, result.stderr)
        return result.stdout if status == 0 else result.stderr

    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    call.folder = tmp_path
    return call
