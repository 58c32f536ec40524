"""Handlers of signals, which only the main thread can set."""

import signal
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any


def current_handlers(numbers: Iterable[int]) -> dict[int, Any]:
    """The handlers of signals; none outside the main thread."""
    is_main = threading.current_thread() is threading.main_thread()
    return {number: signal.getsignal(number) for number in numbers if is_main}


def handle(numbers: Iterable[int], handler: Callable[..., Any]) -> dict[int, Any]:
    """Set the handler of signals that are not ignored, as SIGHUP is under nohup.

    Returns:
        The handlers before, by signal, for `restore`; none outside the main thread.
    """
    before = current_handlers(numbers)
    heeded = {number: old for number, old in before.items() if old != signal.SIG_IGN}
    restore(dict.fromkeys(heeded, handler))
    return heeded


def restore(handlers: Mapping[int, Any]) -> None:
    """Set the handler of each signal."""
    for number, handler in handlers.items():
        signal.signal(number, handler)
