"""Starts processes so that they can be killed with all their children."""

from __future__ import annotations

import os
import sys
from typing import Any, Final

OWN_GROUP: Final[dict[str, Any]] = {"process_group": 0} if sys.version_info >= (3, 11) else {"preexec_fn": os.setpgrp}
"""The arguments of ``subprocess.Popen`` for a separate process group, which `os.killpg` ends.

Not a session of its own: where the kernel has autogroups (``kernel.sched_autogroup_enabled``, `sched(7)`), it divides a core among
sessions first. Then niceness and ``SCHED_IDLE`` have no effect between two sessions. A server of two workers and its drivers, on two cores,
did little more than one worker on one core: 1.0 to 1.3 times as much instead of 2.
"""

# Root may read everything and bind every port, unless it has dropped its rights. Other users may not.
WITHOUT_RIGHTS: Final = ("setpriv", "--bounding-set=-all", "--inh-caps=-all") if os.geteuid() == 0 else ()
"""The prefix of a command that must have only its user's rights."""
