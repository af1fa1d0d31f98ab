from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from edge.process.other_load import OtherLoad, busy_words

HZ = os.sysconf("SC_CLK_TCK")


def stat(file, busy_s, idle_s):
    file.write_text(f"cpu  {int(busy_s * HZ)} 0 0 {int(idle_s * HZ)} 0 0 0 0 0 0\n")


def test_what_others_do_is_what_this_process_did_not(tmp_path):
    file = tmp_path / "stat"
    stat(file, 100, 100)
    with OtherLoad(file) as load:
        time.sleep(0.2)
        stat(file, 101, 100)
    assert load.cores > 1  # a second of others within the fifth of a second
    assert "BUSY" in load.warning


def test_an_idle_device_is_not_marked(tmp_path):
    file = tmp_path / "stat"
    stat(file, 100, 100)
    with OtherLoad(file) as load:
        stat(file, 100, 200)
    assert load.cores == 0
    assert load.warning is None


def test_own_work_and_that_of_own_children_is_none_of_others():
    with OtherLoad() as load:
        subprocess.run([sys.executable, "-c", "sum(range(2 * 10**6))"], check=True)
    assert load.cores is not None
    assert load.cores <= (os.cpu_count() or 1) + 0.5


def test_a_system_that_does_not_say_marks_nothing(tmp_path):
    with OtherLoad(tmp_path / "nothing") as load:
        pass
    assert (load.cores, load.warning) == (None, None)


@pytest.mark.parametrize(("cores", "said"), [(1.0, "1.0 core at"), (1.9, "1.9 cores at")])
def test_cores_are_spelt_by_their_number(cores, said):
    assert said in busy_words(cores)
