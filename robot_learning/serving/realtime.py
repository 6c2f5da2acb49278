"""Keep everything that is not the control loop from delaying it.

Measured on two cores that other processes kept busy, 20 Hz, a policy of 4 ms: with normal priority 1 to 5 of 400
control periods ended late and jitter reached 130 ms; with a real-time priority 0 to 1 did.
"""

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

SWITCH_INTERVAL_S = 0.0005
"""How soon the control thread gets the interpreter back from the inference thread; Python's default is 5 ms."""

CONTROL_PRIORITY, INFERENCE_PRIORITY = 2, 1
"""Linux real-time priorities (1 to 99, higher goes first): enough to be ahead of everything ordinary."""


@contextmanager
def undisturbed() -> Iterator[bool]:
    """Run without garbage collection, with one thread per network and real-time priority where that is allowed.

    One collection takes longer than a control period may be late. Yields whether the priority was granted: root and
    users with an ``rtprio`` limit get it, on Linux.
    """
    threads, interval, collecting = set_torch_threads(1), sys.getswitchinterval(), gc.isenabled()
    gc.collect()
    gc.freeze()
    gc.disable()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    before = _scheduling()
    try:
        yield set_priority(CONTROL_PRIORITY)
    finally:
        if before is not None:
            os.sched_setscheduler(0, *before)
        sys.setswitchinterval(interval)
        set_torch_threads(threads)
        gc.unfreeze()
        if collecting:
            gc.enable()


def set_torch_threads(count: int | None) -> int | None:
    """Set how many threads torch uses; return how many it used, or None where torch is not loaded."""
    torch = sys.modules.get("torch")  # policies from ONNX files run without
    if torch is None or count is None:
        return None
    before: int = torch.get_num_threads()
    torch.set_num_threads(count)
    return before


def set_priority(priority: int) -> bool:
    """Give the calling thread a real-time priority; tell whether that was allowed."""
    if not hasattr(os, "sched_setscheduler"):
        return False
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(priority))
    except OSError:
        return False
    return True


def lower_inference() -> None:
    """Put the calling thread, which inherits the control thread's priority, below it."""
    if hasattr(os, "sched_getscheduler") and os.sched_getscheduler(0) == os.SCHED_RR:
        set_priority(INFERENCE_PRIORITY)


def _scheduling() -> "tuple[int, os.sched_param] | None":
    if not hasattr(os, "sched_getscheduler"):
        return None
    return os.sched_getscheduler(0), os.sched_getparam(0)
