"""A process under test in a mount namespace of its own: what is mounted there is gone with it."""
import os
import subprocess

from fleet import wait_until

ROOT = os.geteuid() == 0
UNSHARE = ["unshare", "--mount"] if ROOT else ["unshare", "--mount", "--map-root-user"]


def can_mount():
    return subprocess.run([*UNSHARE, "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True).returncode == 0


def begin_with(process, script, *arguments):
    """Let the process begin with a shell's script, which has the arguments as $1 and so on."""
    shifted = f'set -e; {script}; shift {len(arguments)}; exec "$@"'
    process.command = [*UNSHARE, "sh", "-c", shifted, "sh", *map(str, arguments), *process.command]


def inside(process, *command):
    """Run it where the process is, once the shell has become the process."""
    program = os.path.basename(process.command[-4])
    wait_until(lambda: os.path.basename(os.readlink(f"/proc/{process.pid}/exe")) == program, "the namespace")
    user = [] if ROOT else ["--user", "--preserve-credentials"]
    return subprocess.run(["nsenter", "--target", str(process.pid), "--mount", *user, *map(str, command)],
                          capture_output=True, text=True, check=True).stdout
