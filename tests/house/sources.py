"""Where the repository's own files are: read by the tests of the house, which hold what no single module can."""

import shutil
import subprocess
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@cache
def tracked() -> tuple[Path, ...]:
    """Every file that git tracks or would track, relative to the root.

    An unpacked sdist has no git: there, all its files.
    """
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        return tuple(sorted(path.relative_to(ROOT) for path in ROOT.rglob("*") if path.is_file()))
    command = [git, "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return tuple(sorted(Path(name) for name in set(listed.split("\0")) if name and (ROOT / name).is_file()))


def import_packages() -> dict[str, Path]:
    """Each import package that the wheel ships, with its folder."""
    folders = [ROOT / "governor", *(ROOT / "integrations").glob("governor_*")]
    return {folder.name: folder for folder in sorted(folders) if (folder / "__init__.py").is_file()}
