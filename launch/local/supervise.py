"""Runs a command that ends with its launcher, however that dies. A program of its own, started once per step.

A step's process cannot watch its launcher itself: its main thread computes, and its code knows nothing of launchers. So
a small process stands between them. It is the launcher's child, and a child whose parent has died has another parent.
"""

import contextlib
import os
import signal
import subprocess
import sys

_LOOKS_SECONDS = 0.25
_GRACE_SECONDS = 5.0


def main() -> int:
    """Runs `sys.argv[2:]` while the process `sys.argv[1]` is this one's parent; gives the command's exit status."""
    launcher, command = int(sys.argv[1]), sys.argv[2:]
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the launcher, which then ends its steps in order
    with subprocess.Popen(command) as child:
        while True:
            try:
                status = child.wait(_LOOKS_SECONDS)
                return status if status >= 0 else 128 - status
            except subprocess.TimeoutExpired:
                if os.getppid() != launcher:
                    _end(child.pid)


def _end(pid: int) -> None:
    """Ends a process and those below it: asks first, because `docker run` ends its container only if it is asked."""
    import psutil

    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        processes = [*process.children(recursive=True), process]
        for one in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.terminate()
        for one in psutil.wait_procs(processes, timeout=_GRACE_SECONDS)[1]:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()


if __name__ == "__main__":
    sys.exit(main())
