"""A container's quota of the processor decides how many threads there are."""

from __future__ import annotations

import logging
import os

import pytest

from edge.backends.probe import available_cores, cpu_quota, threads_for

V2 = "31 23 0:28 {group} /sys/fs/cgroup rw,relatime - cgroup2 cgroup rw,nsdelegate\n"
V1 = "32 31 0:29 {group} /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"


def system(folder, own, mounts, files):
    """Write what the kernel shows of control groups below a folder."""
    (folder / "proc/self").mkdir(parents=True)
    (folder / "proc/self/cgroup").write_text(own)
    (folder / "proc/self/mountinfo").write_text("22 1 0:21 / /proc rw - proc proc rw\nshort\n" + mounts)
    for name, text in files.items():
        path = folder / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def v1_files(folder, quota, period="100000"):
    return {f"{folder}/cpu.cfs_quota_us": f"{quota}\n", f"{folder}/cpu.cfs_period_us": f"{period}\n"}


CASES = {
    "v2-container": ("0::/\n", V2.format(group="/"), {"cpu.max": "150000 100000\n"}, 1.5),
    "v2-none": ("0::/a\n", V2.format(group="/"), {"a/cpu.max": "max 100000\n"}, None),
    "v2-of-the-service-above": (
        "0::/mill.slice/box.service\n",
        V2.format(group="/"),
        {"mill.slice/cpu.max": "200000 100000", "mill.slice/box.service/cpu.max": "max 100000"},
        2.0,
    ),
    "v2-least": (
        "0::/a/b\n",
        V2.format(group="/"),
        {"a/cpu.max": "100000 100000", "a/b/cpu.max": "50000 100000"},
        0.5,
    ),
    "v1": ("3:cpu,cpuacct:/box\n0::/\n", V1.format(group="/"), v1_files("cpu,cpuacct/box", 250000), 2.5),
    "v1-none": ("3:cpu,cpuacct:/\n", V1.format(group="/"), v1_files("cpu,cpuacct", -1), None),
    "v1-docker": (
        "3:cpu,cpuacct:/docker/abc\n", V1.format(group="/docker/abc"), v1_files("cpu,cpuacct", 50000), 0.5,
    ),
    "v1-named-as-the-host-sees-it": (
        "3:cpu,cpuacct:/docker/abc\n", V1.format(group="/"), v1_files("cpu,cpuacct", 50000), 0.5,
    ),
    "nonsense": ("0::/\n", V2.format(group="/"), {"cpu.max": "0 0"}, None),
    "nothing": ("", "", {}, None),
}  # fmt: skip


@pytest.mark.parametrize(("own", "mounts", "files", "quota"), CASES.values(), ids=CASES)
def test_the_least_quota_above_this_process_holds(tmp_path, own, mounts, files, quota):
    assert cpu_quota(system(tmp_path, own, mounts, files)) == quota


def test_without_proc_there_is_no_quota(tmp_path):
    assert cpu_quota(tmp_path) is None


@pytest.mark.parametrize(("quota", "cores"), [(0.5, 1), (1.9, 1), (1e6, None), (None, None)])
def test_threads_go_by_the_quota(monkeypatch, quota, cores):
    monkeypatch.setattr("edge.backends.probe.cpu_quota", lambda: quota)
    assert available_cores() == (cores or len(os.sched_getaffinity(0)))
    assert threads_for(None) == available_cores()


@pytest.mark.parametrize("wanted", [5000, 99999999999, 10**5000], ids=["5000", "11-digits", "5001-digits"])
def test_more_threads_than_the_device_has_cores_are_one_line_and_its_cores(caplog, wanted):
    caplog.set_level(logging.WARNING)
    assert threads_for(wanted) == os.cpu_count()
    (line,) = caplog.messages
    assert line.endswith(f"this device has {os.cpu_count()} cores, and so many are used")
    assert threads_for(1) == 1
