"""The wheel carries its configuration and starts from an empty folder."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    (wheel,) = out.glob("kuro_proxy-*.whl")
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


def test_installed_into_an_empty_environment_it_is_a_command(unpacked: Path, tmp_path: Path) -> None:
    """Without a registry: the dependencies are this environment's, the project is the wheel's alone."""
    (wheel,) = unpacked.parent.glob("*.whl")
    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv" / "bin" / "python"
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps", "--no-index"]
    subprocess.run([*install, str(wheel)], check=True, capture_output=True, timeout=120)
    (site,) = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    (site / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    kuro = tmp_path / "venv" / "bin" / "kuro"
    done = subprocess.run(
        [str(kuro), "check"], cwd=tmp_path, env={}, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, "simulated/fast" in done.stdout) == (0, True), done.stderr
    where = [str(python), "-c", "import proxy; print(proxy.__file__)"]
    assert str(site) in subprocess.run(where, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
