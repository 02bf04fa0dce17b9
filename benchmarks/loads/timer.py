"""A timer that epoll can wait for to the microsecond (timerfd_create(2)); epoll's own time-out counts milliseconds."""

from __future__ import annotations

import ctypes
import os

CLOCK_MONOTONIC = 1
TFD_TIMER_ABSTIME = 1
LIBC = ctypes.CDLL(None, use_errno=True)


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("value", _Timespec))


class Timer:
    """A descriptor that becomes readable at a moment of `time.monotonic_ns`, until it is set anew."""

    def __init__(self) -> None:
        self.fd: int = LIBC.timerfd_create(CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if self.fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        self._spec = _Itimerspec()

    def set(self, moment_ns: int) -> None:
        """Become readable at `moment_ns`; a moment that has passed makes it readable at once; 0 never."""
        value = self._spec.value
        value.seconds, value.nanoseconds = divmod(moment_ns, 1_000_000_000)
        LIBC.timerfd_settime(self.fd, TFD_TIMER_ABSTIME, ctypes.byref(self._spec), None)

    def close(self) -> None:
        os.close(self.fd)
