"""A plant's control system over OPC UA: a real client, a real edge-run, a simulated loom."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import socket
import subprocess
import time
from contextlib import AsyncExitStack, closing, suppress

import pytest
from asyncua import ua

from edge.opcua.users import new_user, write_users
from edge.roll.document import RollDocument
from edge.roll.reading import read_rolls
from edge.roll.values import ROLL_STARTED
from tests.conftest import write_bright_cell_bundle
from tests.integration.opcua_clients import MODE, PATIENCE_S, USERS, connected
from tests.ports import HeldPort
from tests.processes import loomsight, program

LOOM = (
    "loom:seed=1,width_px=256,lines_per_block=64,defects_per_m=20,difficulties=obvious,mean_grey=100,"
    "live=true,speed_m_min=6"
)
REFUSED = ua.uaerrors.UaStatusCodeError

# A connection that the server cuts off may leave its socket to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


def with_users(folder):
    write_users(folder / "users", {name: new_user(name, *given) for name, given in USERS.items()})
    return folder


def settings_file(folder, bundle, port, table="", more=""):
    file = folder / "box.toml"
    file.write_text(
        f'camera = "{LOOM}"\nmodel = "{bundle}"\nroll_record = "{folder / "r.db"}"\n'
        f"cloth_width_mm = 50\nselvedge_margin_mm = 0\n{more}\n[articles.twill]\n"
        f'[opcua]\nlisten = {port}\nfolder = "{folder / "opcua"}"\n{table}\n'
    )
    return file


class Run:
    """An edge-run that serves OPC UA."""

    def __init__(self, folder, table="", more=""):
        self.folder, self.record = folder, folder / "r.db"
        bundle = write_bright_cell_bundle(folder / "bundle")
        with_users(folder / "opcua")
        self.port = HeldPort()
        self.url = f"opc.tcp://127.0.0.1:{self.port.number}/"
        self.file = settings_file(folder, bundle, self.port.number, table, more)
        self.log = (folder / "log").open("w")
        words = program("edge-run", "--config", self.file, "--summary", folder / "summary.json")
        self.process = subprocess.Popen(words, stderr=self.log, stdout=subprocess.DEVNULL)

    def wait(self):
        """Wait until the server answers."""
        end_s = time.monotonic() + PATIENCE_S
        while "OPC UA on" not in self.said():
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < end_s, self.said()
            time.sleep(0.2)
        return self

    def said(self):
        return (self.folder / "log").read_text()

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(PATIENCE_S)
        finally:
            self.process.kill()
            self.log.close()


@pytest.fixture
def run(tmp_path):
    made = []

    def start(table="", more=""):
        made.append(Run(tmp_path, table, more))
        return made[-1].wait()

    yield start
    for one in made:
        one.process.kill()
        one.process.wait()
        one.log.close()


def names_of(record):
    return [roll.name for roll in read_rolls(record)]


async def drive(run, policy):
    """Go through jobs; returns what the plant saw."""
    async with connected(run.url, run.folder, policy=policy) as plant:
        await plant.until_state("Operational", "Ready")
        await plant.listen()
        assert await plant.read("JobId") == ""
        assert await plant.read("RecipeManagement.Recipes") == ["twill"]
        assert (await plant.call("RecipeManagement.PrepareRecipe", "twill"))[0] == 0
        assert await plant.read("RecipeManagement.ActiveRecipe") == ""  # the roll stays what it is
        assert (await plant.call(f"{MODE}.Stop"))[0] == -1  # no job
        assert await plant.call(f"{MODE}.StartContinuous", "R-17", "") == ["R-17", 0, ""]
        await plant.until_state("Operational", "ContinuousExecution")

        async def has_started():
            return await plant.read("JobId") == "R-17"

        await plant.until(has_started)
        assert await plant.read("RecipeManagement.ActiveRecipe") == "twill"
        again = await plant.call(f"{MODE}.StartContinuous", "R-17", "")
        assert again[:2] == ["", -1]
        assert "already" in again[2]

        async def found():
            return plant.came("DefectId", JobId="R-17")

        assert (await plant.until(found))[0]["ClassName"] == "broken"
        assert (await plant.call(f"{MODE}.Stop"))[0] == 0
        await plant.until_state("Operational", "Ready")

        async def ended():
            return plant.came("Grade", JobId="R-17")

        result = (await plant.until(ended))[0]
        assert (result["RecipeId"], result["Status"], result["IsPartial"]) == ("twill", "finished", False)
        assert result["Defects"] > 0
        assert await plant.read("ResultManagement.LatestResult.JobId") == "R-17"
        assert result["RollId"] in await plant.read("ResultManagement.Results")
        text, error, _ = await plant.call("ResultManagement.GetResultById", result["RollId"])
        assert error == 0
        assert RollDocument.model_validate_json(text).header.roll == "R-17"
        assert (await plant.call("StopMachine"))[0] == -1  # the settings do not permit it

        async def moves():  # an event may come later than the state can be read
            came = [one["ToState"] for one in plant.came("ToState")]
            return came if came[-1] == "Operational/Ready" else None

        assert (await plant.until(moves))[-2] == "Operational/ContinuousExecution"
        return len(plant.came("DefectId", JobId="R-17")), result


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["Basic256Sha256", "Aes256Sha256RsaPss"])
def test_a_plant_starts_and_ends_jobs_over_an_encrypted_channel(run, policy):
    served = run()
    told, result = asyncio.run(drive(served, policy))
    assert served.end() == 0
    first, job, after = read_rolls(served.record)[:3]
    assert (job.name, job.head["article"], job.head["status"]) == ("R-17", "twill", "finished")
    assert re.fullmatch(r"roll of [0-9T:-]+Z", first.name)
    assert re.fullmatch(r"roll of [0-9T:-]+Z", after.name)
    assert told == len(job.defects) == result["Defects"]
    assert result["LengthM"] == pytest.approx(job.length_m, abs=1e-3)
    started = next(event for event in job.events if event.kind == ROLL_STARTED)
    assert (started.data["by"], started.data["who"]) == ("opcua", "user anna")
    prepared = [event for event in (*first.events, *job.events) if event.kind == "recipe prepared"]
    assert prepared[0].data == {"by": "opcua", "article": "twill", "who": "anna"}
    assert "Traceback" not in served.said()


@pytest.mark.slow
def test_without_the_right_user_nothing_changes(run):
    served = run()

    async def attempt(user, **given):
        async with connected(served.url, served.folder, user, **given) as plant:
            return await plant.call(f"{MODE}.StartContinuous", "X", "")

    async def looks():
        async with connected(served.url, served.folder, "bob") as plant:
            await plant.until_state("Operational", "Ready")
            for path in (f"{MODE}.StartContinuous", f"{MODE}.Stop", "RecipeManagement.PrepareRecipe"):
                with pytest.raises(REFUSED, match="BadUserAccessDenied"):
                    await plant.call(
                        path,
                        *[""] * {"StartContinuous": 2, "PrepareRecipe": 1}.get(path.rpartition(".")[2], 0),
                    )
            with pytest.raises(REFUSED):
                await plant.node("JobId").write_value("mine")
            with pytest.raises(REFUSED):
                await plant.node().add_variable(2, "mine", 1)
            return await plant.read("JobId")

    with pytest.raises(REFUSED, match="BadUserAccessDenied"):
        asyncio.run(attempt("anna", password="a wrong password"))
    with pytest.raises(REFUSED):
        asyncio.run(attempt(None))
    with pytest.raises((REFUSED, ua.UaError, ConnectionError, asyncio.TimeoutError)):
        asyncio.run(attempt("anna", policy=None))  # in the clear
    assert asyncio.run(looks()) == ""
    assert served.end() == 0
    assert len(names_of(served.record)) == 1


async def floods(served):
    """Let clients flood the server while one works; returns how much cloth passed meanwhile."""
    async with AsyncExitStack() as stack:
        plant = await stack.enter_async_context(connected(served.url, served.folder))
        await plant.until_state("Operational", "Ready")
        flooding = [
            await stack.enter_async_context(connected(served.url, served.folder, "bob")) for _ in range(3)
        ]
        before_m = await plant.read("ResultManagement.CurrentResult.LengthM")
        tasks = [asyncio.create_task(reads(one)) for one in flooding for _ in range(40)]
        raw = [await asyncio.open_connection("127.0.0.1", served.port.number) for _ in range(20)]
        for _, writer in raw[:3]:  # a message that claims to have two gigabytes
            writer.write(b"HELF" + (2**31 - 1).to_bytes(4, "little") + bytes(1 << 20))

        async def has_woven():
            now_m = await plant.read("ResultManagement.CurrentResult.LengthM")
            return now_m > before_m + 0.2

        await plant.until(has_woven)
        answer = await plant.call(f"{MODE}.StartContinuous", "in the flood", "")
        await plant.until_state("Operational", "ContinuousExecution")
        for task in tasks:
            task.cancel()
        for _, writer in raw:
            writer.close()
        with pytest.raises(REFUSED):  # subscriptions that publish a thousand times a second
            await subscribes(plant, 40)
        return answer


async def subscribes(plant, count):
    for _ in range(count):
        await plant.client.create_subscription(1, plant)


async def reads(plant):
    with suppress(Exception):
        while True:
            await plant.read("JobId")


@pytest.mark.slow
def test_a_flood_holds_up_neither_inspection_nor_another_client(run):
    served = run()
    assert asyncio.run(floods(served)) == ["in the flood", 0, ""]
    assert served.end() == 0
    summary = json.loads((served.folder / "summary.json").read_text())
    assert summary["helpers"]["failures"].get("opcua", 0) == 0
    assert names_of(served.record)[1] == "in the flood"
    for roll in read_rolls(served.record):  # whatever was not inspected is a gap
        gaps = sum(gap.lines for gap in roll.gaps)
        assert roll.head["inspected_lines"] + gaps == roll.head["passed_lines"]
    assert "Traceback" not in served.said()


def broken_settings(tmp_path, what):
    folder = with_users(tmp_path / "opcua")
    if what == "key":
        (folder / "key.pem").write_text("no key\n")
        (folder / "key.pem").chmod(0o600)
        (folder / "certificate.der").write_bytes(b"no certificate")
    if what == "open key":
        from edge.opcua.certificate import open_identity

        open_identity(folder)
        (folder / "key.pem").chmod(0o644)
    if what == "no users":
        (folder / "users").unlink()
    if what == "users":
        (folder / "users").write_text("anna change plain$secret\n")
    if what == "open users":
        (folder / "users").chmod(0o644)


@pytest.mark.parametrize(
    ("what", "table", "said"),
    [
        ("key", "", "is no certificate"),
        ("open key", "", "Others may read"),
        ("no users", "", "OPC UA has no user"),
        ("users", "", "line 1 is no user"),
        ("open users", "", "Others may read"),
        ("", "trusted_only = true", "holds no certificate"),
        ("", 'policies = ["Basic128"]', "policies"),
        ("", "requests = 3", "there is no setting 'opcua.requests'"),
    ],
)
def test_what_is_wrong_is_one_line(tmp_path, what, table, said):
    broken_settings(tmp_path, what)
    file = settings_file(tmp_path, tmp_path / "bundle", 0, table)
    done = loomsight("opcua", "check", "--config", file)
    assert done.returncode == 10
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_port_in_use_is_one_line(tmp_path, bundle):
    with_users(tmp_path / "opcua")
    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        file = settings_file(tmp_path, bundle, other.getsockname()[1])
        done = loomsight("edge-run", "--config", file, "--frames", 1)
    assert done.returncode == 10
    assert "Use another opcua.listen" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_run_without_a_record_is_one_line(tmp_path, bundle):
    file = settings_file(tmp_path, bundle, 0)
    file.write_text(re.sub(r"roll_record.*\n", "", file.read_text()))
    done = loomsight("edge-run", "--config", file, "--frames", 1)
    assert done.returncode == 10
    assert "Add --roll-record" in done.stderr


def test_the_command_adds_users_and_tries_the_settings(tmp_path, bundle):
    file = settings_file(tmp_path, bundle, 0)
    added = loomsight(
        "opcua", "user", "anna", "--config", file, "--role", "change", input="long enough 1\n"
    )
    assert added.returncode == 0, added.stderr
    short = loomsight("opcua", "user", "bob", "--config", file, input="short\n")
    assert short.returncode == 10
    assert "10 to 256" in short.stderr
    assert "long enough" not in (tmp_path / "opcua" / "users").read_text()
    done = loomsight("opcua", "check", "--config", file)
    assert done.returncode == 0, done.stderr
    assert "Basic256Sha256, Aes256Sha256RsaPss" in done.stdout
    assert "1 users, 1 of them may change things" in done.stdout
    removed = loomsight("opcua", "user", "anna", "--config", file, "--remove")
    assert removed.returncode == 0
    gone = loomsight("opcua", "user", "anna", "--config", file, "--remove")
    assert gone.returncode == 10
