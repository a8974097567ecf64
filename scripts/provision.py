"""What the scripts need on this machine: interpreters, Debian packages, virtual environments.

Standard library only: it runs before anything is installed.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


class Failed(Exception):
    """The script cannot go on; the message says why, if the output has not said it already."""

    def __init__(self, message: str = "", exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """Something that Debian packages bring."""

    what: str
    packages: tuple[str, ...]
    is_met: Callable[[], bool]


def finish(main: Callable[[list[str]], int]) -> None:
    """Run a script's `main` on its arguments and exit with its code; 130 when interrupted."""
    try:
        sys.exit(main(sys.argv[1:]))
    except Failed as failure:
        if str(failure):
            print(failure, file=sys.stderr)
        sys.exit(failure.exit_code)
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        sys.exit(130)


def say(text: str) -> None:
    """Print a line at once: what the programs started next print comes after it."""
    print(text, flush=True)


def run(*command: str, env: Mapping[str, str] | None = None) -> None:
    """Show a command and run it in the checkout. Raise Failed, with its exit code, if it fails."""
    say(f"$ {shlex.join(command)}")
    ended = subprocess.run(command, cwd=ROOT, env=env, check=False)
    if ended.returncode:
        raise Failed(f"Failed: {shlex.join(command)}", exit_code=ended.returncode)


def provide(*names: str) -> list[str]:
    """Install what is missing of NEEDS, if that is allowed; return the names of what is still missing.

    Raise Failed if something is, and CI is set.
    """
    if missing := _missing(names):
        _install([package for name in missing for package in NEEDS[name].packages])
    if missing := _missing(missing):
        message = _instruction([NEEDS[name] for name in missing])
        if os.environ.get("CI"):
            raise Failed(message)
        say(message)
    return missing


def make_venv(folder: Path, *requirements: str, python: str = sys.executable) -> Path:
    """Return `folder`, a virtual environment with `requirements`; kept from the last time if it is the same.

    A requirement that begins with `.` is this package, installed so that it can be edited.
    Raise Failed if pip fails.
    """
    stamp = folder / "made-for"
    wanted = _fingerprint(folder, python, requirements)
    if stamp.exists() and stamp.read_text() == wanted:
        return folder
    say(f"Virtual environment: {folder.name}")
    provide("venv")
    run(python, "-m", "venv", "--clear", str(folder))
    run(*pip_install(folder), *_editable(requirements))
    stamp.write_text(wanted)
    return folder


def pip_install(venv: Path) -> list[str]:
    """The beginning of a command that installs into a virtual environment."""
    return [str(venv / "bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]


def is_inside(venv: Path) -> bool:
    """Does this process run in the virtual environment?"""
    return Path(sys.prefix) == venv


def enter(venv: Path) -> None:
    """Begin this script again, with the same arguments, in the virtual environment; does not return."""
    os.execve(venv / "bin/python", [str(venv / "bin/python"), *sys.orig_argv[1:]], activated(venv))  # noqa: S606 - itself, without a shell


def activated(venv: Path) -> dict[str, str]:
    """Return the environment of programs that are to run in a virtual environment."""
    others = ("PYTHONHOME", "PYTHONPATH", "DJANGO_SETTINGS_MODULE", "DATABASE_URL")
    env = {name: value for name, value in os.environ.items() if name not in others}
    path = os.pathsep.join([str(venv / "bin"), os.environ.get("PATH", os.defpath)])
    return {**env, "VIRTUAL_ENV": str(venv), "PATH": path}


def development_requirements(*, mysqlclient: bool, benchmarks: bool = False) -> list[str]:
    """Return what developing needs, and benchmarks; without mysqlclient where that cannot be built."""
    if mysqlclient:
        return [".[dev,bench]" if benchmarks else ".[dev]"]
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    dev = [it for it in extras["dev"] if not it.startswith("django-runbook")]
    return [".[postgresql,bench]" if benchmarks else ".[postgresql]", *dev]


def find_python(version: str) -> str | None:
    """Find an interpreter, as "3.12": this one, on PATH, or among pyenv's."""
    return next((place for place in _interpreters(version) if _version_of(place) == version), None)


def _interpreters(version: str) -> Iterator[str]:
    yield sys.executable
    if on_path := shutil.which(f"python{version}"):
        yield on_path
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    yield from map(str, root.glob(f"versions/{version}.*/bin/python"))


def _version_of(python: str) -> str:
    """The version as "3.12"; empty if it does not start, as a pyenv shim of a version not chosen."""
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    ended = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    return ended.stdout.strip()


def _fingerprint(folder: Path, python: str, requirements: tuple[str, ...]) -> str:
    """What a virtual environment depends on: one that was moved or has an older Python is made anew."""
    version = subprocess.run([python, "-VV"], capture_output=True, text=True, check=True).stdout
    project = (ROOT / "pyproject.toml").read_text()
    return sha256("\n".join([str(folder), python, version, project, *requirements]).encode()).hexdigest()


def _editable(requirements: tuple[str, ...]) -> Iterator[str]:
    for requirement in requirements:
        yield from ["--editable", requirement] if requirement.startswith(".") else [requirement]


def _missing(names: tuple[str, ...] | list[str]) -> list[str]:
    return [name for name in names if not NEEDS[name].is_met()]


def _install(packages: list[str]) -> None:
    """Install Debian packages where there is apt-get and the right to use it; otherwise do nothing."""
    root = _become_root()
    if root is None or not shutil.which("apt-get"):
        return
    apt = [*root, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq", "-o", "DPkg::Lock::Timeout=300"]
    for command in ([*apt, "update"], [*apt, "install", "--yes", "--no-install-recommends", *packages]):
        say(f"$ {shlex.join(command)}")
        ended = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if ended.returncode:
            say(ended.stderr.strip())


def _become_root() -> list[str] | None:
    """The prefix of a command that is to run as root; None if that is not allowed without a password."""
    if os.geteuid() == 0:
        return []
    sudo = shutil.which("sudo")
    if sudo and not subprocess.run([sudo, "-n", "true"], capture_output=True, check=False).returncode:
        return [sudo, "-n"]
    return None


def _instruction(needs: list[Need]) -> str:
    packages = " ".join(package for need in needs for package in need.packages)
    return f"Not on this machine: {', '.join(need.what for need in needs)}; apt-get install {packages}"


def _has_program(*names: str) -> bool:
    """Is one of the programs on PATH, or where Debian puts servers?"""
    servers = ["/usr/sbin", "/usr/local/sbin", *map(str, Path("/usr/lib/postgresql").glob("*/bin"))]
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *servers])
    return any(shutil.which(name, path=path) for name in names)


def _can_build_mysqlclient() -> bool:
    return (
        _has_program("cc", "gcc")
        and _has_program("mariadb_config", "mysql_config")
        and _has_program("pkg-config")
        and Path(sysconfig.get_path("include"), "Python.h").exists()
    )


NEEDS = {
    "mariadb": Need(
        what="a MariaDB server",
        packages=("mariadb-server", "mariadb-client"),
        is_met=lambda: _has_program("mariadbd") and _has_program("mariadb-dump", "mysqldump"),
    ),
    "mydumper": Need(
        what="mydumper",
        packages=("mydumper",),
        is_met=lambda: _has_program("mydumper") and _has_program("myloader"),
    ),
    "postgresql": Need(
        what="a PostgreSQL server",
        packages=("postgresql",),
        is_met=lambda: _has_program("postgres") and _has_program("pg_dump"),
    ),
    "programs": Need(
        what="the programs that backups are measured against",
        packages=("zstd", "sqlite3"),
        is_met=lambda: _has_program("zstd") and _has_program("sqlite3"),
    ),
    "pgbouncer": Need(what="PgBouncer", packages=("pgbouncer",), is_met=lambda: _has_program("pgbouncer")),
    "redis": Need(what="Redis", packages=("redis-server",), is_met=lambda: _has_program("redis-server")),
    "rabbitmq": Need(
        what="RabbitMQ", packages=("rabbitmq-server",), is_met=lambda: _has_program("rabbitmq-server")
    ),
    "mysqlclient": Need(
        what="what mysqlclient is built with",
        packages=("default-libmysqlclient-dev", "pkg-config", "gcc", "libc6-dev", "python3-dev"),
        is_met=_can_build_mysqlclient,
    ),
    "venv": Need(
        what="Python's module venv", packages=("python3-venv",), is_met=lambda: bool(find_spec("ensurepip"))
    ),
}
