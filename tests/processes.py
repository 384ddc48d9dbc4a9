"""How processes are started that are to be killed with all their children."""

from __future__ import annotations

import os
import sys
from typing import Any, Final

OWN_GROUP: Final[dict[str, Any]] = {"process_group": 0} if sys.version_info >= (3, 11) else {"preexec_fn": os.setpgrp}
"""What ``subprocess.Popen`` needs for a process group of its own, which `os.killpg` ends.

Not a session of its own: where the kernel has autogroups (``kernel.sched_autogroup_enabled``, `sched(7)`), it divides a core among
sessions first. Then neither a niceness nor ``SCHED_IDLE`` means anything between two of them, and a server of two workers
and its drivers, on two cores, did little more than one on one: 1.0 to 1.3 times as much instead of 2.
"""
