"""On which machine and with which code: facts that differ between runs of the same inputs."""

import os
import platform
import shutil
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def provenance(root: Path) -> dict[str, str]:
    """Fact -> value; a fact that cannot be had is "unknown" with the reason."""
    return {
        "Code version": code_version(root),
        "Processor": _processor(),
        "Cores": _cores(),
        "System": f"{platform.system()} {platform.release()} ({platform.machine()})",
        "Python": platform.python_version(),
        "torch": _package("torch"),
        "NumPy": _package("numpy"),
        "Written": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
    }


def code_version(root: Path) -> str:
    """`git describe` of the working copy, and whether stages/ or params.yaml differ from that commit."""
    git = shutil.which("git")
    if git is None:
        return "unknown: git is not installed"
    described = git_output(git, root, "describe", "--always", "--tags", "--abbrev=12")
    if not described:
        return "unknown: not a git working copy with a commit"
    changed = git_output(git, root, "status", "--porcelain", "--", "stages", "params.yaml")
    return f"{described}, with uncommitted changes in stages/ or params.yaml" if changed else described


def git_output(git: str, root: Path, *arguments: str) -> str:
    """What a git command prints, empty where it fails."""
    done = subprocess.run([git, "-C", str(root), *arguments], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def _processor() -> str:
    description = Path("/proc/cpuinfo")
    if description.is_file():
        for line in description.read_text("utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or "unknown: the system does not name it"


def _cores() -> str:
    return f"{os.cpu_count() or 'unknown: the system does not count them'}"


def _package(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown: not installed"
