"""Pools of worker processes. Each worker uses one thread, and ends with the process that started it."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context

__all__ = ["worker_pool"]


@contextmanager
def worker_pool(
    workers: int | None, start: Callable | None = None, arguments: tuple = ()
) -> Iterator[ProcessPoolExecutor]:
    """Open a pool of worker processes. An error in the ``with`` block cancels the calls that have not begun.

    Parameters
    ----------
    workers : int or None
        Number of processes; None means one per core.
    start : callable, optional
        Each process calls ``start(*arguments)`` first.
    arguments : tuple
        Arguments of `start`.

    Yields
    ------
    concurrent.futures.ProcessPoolExecutor
    """
    parent = os.getpid()
    with (
        _one_thread_a_process(),
        ProcessPoolExecutor(workers, get_context("spawn"), _begin, (parent, start, arguments)) as pool,
    ):
        try:
            yield pool
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


@contextmanager
def _one_thread_a_process():
    """Make processes that start inside the block use one thread each, because they share the cores."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _begin(parent: int, start: Callable | None, arguments: tuple) -> None:
    import torch

    torch.set_num_threads(1)
    threading.Thread(target=_follow, args=(parent,), daemon=True).start()
    if start is not None:
        start(*arguments)


def _follow(parent: int) -> None:
    """End this process when the process that started it has ended."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)
