"""Keep matrix products in the thread that asks for them."""

from __future__ import annotations

from threadpoolctl import threadpool_limits


def use_one_blas_thread() -> None:
    """Let BLAS work in the calling thread alone, in all of this process, from here on.

    The products of a look are small. Split among all cores they wait for cores that the detector has:
    with two threads each, detector and reference took 250 ms for a strip, with one thread of BLAS 172 ms.
    A sum has the same order, too, whatever the machine has cores.
    """
    threadpool_limits(1, user_api="blas")
