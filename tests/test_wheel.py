"""The wheel carries its configuration and starts from an empty folder."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    (wheel,) = out.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(out / "site")
    return out / "site"


def run(unpacked: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "proxy", *arguments]
    return subprocess.run(
        command,
        cwd=unpacked.parent,
        env={"PYTHONPATH": str(unpacked)},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_it_carries_the_default_configuration(unpacked: Path) -> None:
    assert {path.name for path in (unpacked / "proxy" / "_config").iterdir()} >= {
        "model_registry.yml",
        "intents.yml",
        "routing.yml",
        "proxy.yml",
    }


def test_it_checks_and_explains_in_any_folder(unpacked: Path) -> None:
    checked = run(unpacked, "check")
    assert checked.returncode == 0, checked.stderr
    assert "simulated/fast" in checked.stdout
    explained = run(unpacked, "explain", "Write a haiku about rain")
    assert explained.returncode == 0, explained.stderr
    assert '"intent": "writing"' in explained.stdout
