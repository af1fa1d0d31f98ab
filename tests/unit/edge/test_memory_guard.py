"""The limit on memory while a network is opened: it goes as it came, whoever opens one beside it."""

from __future__ import annotations

import resource
import threading

from edge.backends.memory_guard import memory_limited


def test_two_threads_that_open_at_once_leave_no_limit_behind():
    before = resource.getrlimit(resource.RLIMIT_DATA)
    is_in, may_leave = threading.Event(), threading.Event()
    within = []

    def first():
        with memory_limited(1 << 40):
            is_in.set()
            may_leave.wait(10)

    def second():
        with memory_limited(1 << 39):
            within.append(resource.getrlimit(resource.RLIMIT_DATA)[0])

    threads = [threading.Thread(target=first), threading.Thread(target=second)]
    threads[0].start()
    assert is_in.wait(10)
    threads[1].start()
    threads[1].join(0.2)  # it waits for the first one
    may_leave.set()
    for thread in threads:
        thread.join(10)
    assert resource.getrlimit(resource.RLIMIT_DATA) == before
    assert len(within) == 1


def test_one_within_another_of_the_same_thread_takes_the_lower_limit_and_gives_it_back():
    before = resource.getrlimit(resource.RLIMIT_DATA)
    with memory_limited(1 << 40):
        outer = resource.getrlimit(resource.RLIMIT_DATA)
        with memory_limited(1 << 39):
            assert resource.getrlimit(resource.RLIMIT_DATA)[0] < outer[0]
        assert resource.getrlimit(resource.RLIMIT_DATA) == outer
    assert resource.getrlimit(resource.RLIMIT_DATA) == before
