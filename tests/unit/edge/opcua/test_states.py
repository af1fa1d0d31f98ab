"""A vision system through all its states, served in this process to a real client."""

from __future__ import annotations

import asyncio
import time
from contextlib import ExitStack, contextmanager

import pytest
from asyncua import ua

from edge.config.opcua import OpcuaSettings
from edge.config.stop import StopSettings
from edge.decisions.stops import Stops
from edge.health.state import Health
from edge.opcua.certificate import open_identity
from edge.opcua.server import Door, OpcuaServer, ServedCamera
from edge.opcua.states import VisionState, state_of
from edge.opcua.users import new_user, write_users
from edge.page.live import LivePage
from edge.pipeline.changes import RollChanges
from edge.pipeline.run_state import RunState
from edge.roll.recorder import RollRecorder
from edge.roll.values import RollHead, RollTerms
from tests.integration.opcua_clients import MODE, PATIENCE_S, USERS, client_of, connected
from tests.unit.edge.page.pages import CLASSES, defect, passed, show

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

REFUSED = ua.uaerrors.UaStatusCodeError


class Asked(RollChanges):
    """Take every request, and note it."""

    def __init__(self):
        super().__init__()
        self.asked = []

    def ask(self, request, last_frame_id=None):
        self.asked.append(request)
        return True


class Machine:
    """A machine that notes that it is to stop."""

    is_reachable = is_running = True

    def __init__(self):
        self.stops = []

    def request(self, request):
        self.stops.append(request)

    def news(self):
        return []


class Camera:
    """A run that a test drives by hand."""

    def __init__(self, folder):
        self.health = Health(600.0)
        self.live = LivePage("loom", "1", self.health, can_review=True, is_live=True, articles=("twill",))
        self.path, self.changes, self.state = folder / "r.db", Asked(), RunState()
        self.stack = ExitStack()

    def open(self, name="A17"):
        head = RollHead("loom", "a" * 64, {"grade_limits": {}}, name, "twill")
        self.recorder = self.stack.enter_context(RollRecorder(self.path, head))
        self.state.roll.terms = RollTerms(name, "twill")
        self.live.begin(CLASSES, self.recorder, self.changes)

    def pass_(self, *numbers, defects=()):
        passed(self.state, *numbers)
        self.recorder.add(defects, self.state.coverage, 1500.0)
        self.state.snapshot()
        show(self.live, self.state)


@pytest.fixture
def camera(tmp_path):
    one = Camera(tmp_path)
    with one.stack:
        yield one


@contextmanager
def served(camera, folder, beside=None, **settings):
    """Serve a camera, or two that have names."""
    write_users(folder / "opcua" / "users", {name: new_user(name, *given) for name, given in USERS.items()})
    given = OpcuaSettings(listen="0", folder=folder / "opcua", **settings)
    door = Door(given)
    lives = {"VisionSystem": camera} if beside is None else {"left": camera, "right": beside}
    cameras = [ServedCamera(name, one.live, machine_stop=given.machine_stop) for name, one in lives.items()]
    with door.bound, OpcuaServer(door, cameras) as server:
        assert server.is_serving.wait(PATIENCE_S)
        yield door.url


def test_a_run_goes_through_all_states(camera, tmp_path):
    async def drive(url):
        async with connected(url, tmp_path) as plant:
            await plant.listen()
            await plant.until_state("Preoperational", None)
            assert (await plant.call(f"{MODE}.StartContinuous", "", ""))[1] == -1
            camera.open()
            await plant.until_state("Operational", "Initialized")
            camera.pass_(0, 1, 2)
            await plant.until_state("Operational", "ContinuousExecution")
            camera.pass_(3, defects=[defect(0.25)])

            async def found():
                return plant.came("DefectId")

            told = (await plant.until(found))[0]
            assert (told["JobId"], told["ClassName"], told["StartM"]) == ("A17", "broken", 0.25)
            camera.health.failure = None
            camera.state.camera_down = "unplugged"
            camera.pass_(4)
            await plant.until_state("Error", None)
            assert "unplugged" in await plant.read("ErrorReason")
            camera.state.camera_down = None
            camera.pass_(5)
            await plant.until_state("Operational", "ContinuousExecution")
            assert (await plant.call(f"{MODE}.Stop"))[0] == 0
            idle = camera.changes.asked[-1]
            assert (idle.by, idle.who, idle.name[:8]) == ("opcua", "user anna", "roll of ")
            camera.state.roll.terms = RollTerms(idle.name, "twill")
            camera.pass_(6)
            await plant.until_state("Operational", "Ready")
            assert (await plant.call(f"{MODE}.StartContinuous", "B2", ""))[0] == "B2"
            camera.state.roll.terms = RollTerms("B2", "twill")
            camera.pass_(7)
            await plant.until_state("Operational", "ContinuousExecution")
            camera.live.end(camera.state)
            await plant.until_state("Halted", None)
            assert (await plant.call(f"{MODE}.StartContinuous", "", ""))[1] == -1
            camera.live.fail("the disk is full")
            await plant.until_state("Error", None)

            async def all_moves():  # an event may come later than the state can be read
                moves = [one["ToState"] for one in plant.came("ToState")]
                return moves if moves[-1] == "Error" else None

            return await plant.until(all_moves)

    with served(camera, tmp_path) as url:
        moves = asyncio.run(drive(url))
    assert moves[-2:] == ["Halted", "Error"]
    assert "Operational/Initialized" in moves


def test_the_first_roll_is_no_job_unless_it_has_a_name(camera, tmp_path):
    assert state_of(camera.live, has_job=False) == VisionState("Preoperational")
    camera.open("roll of 2026-01-01T00:00:00Z")
    camera.pass_(0)
    served_camera = ServedCamera("VisionSystem", camera.live, machine_stop=False)
    assert served_camera.control.job is None
    assert state_of(camera.live, has_job=False) == VisionState("Operational", "Ready")


def test_the_machine_is_stopped_only_where_the_settings_permit_it(camera, tmp_path):
    camera.open()
    camera.pass_(0)
    machine = Machine()
    control = ServedCamera("one", camera.live, machine_stop=True).control
    assert "cannot reach the machine" in control.stop_machine("anna").reason
    camera.health.stops = Stops(StopSettings(mode="on"), CLASSES, machine)
    forbidden = ServedCamera("one", camera.live, machine_stop=False).control
    assert "do not permit it" in forbidden.stop_machine("anna").reason
    assert machine.stops == []
    assert control.stop_machine("anna").error == 0
    event = camera.health.helpers.events()[-1]
    assert [stop.event_id for stop in machine.stops] == [event.event_id]
    assert (event.kind, event.data) == ("machine stop asked for", {"by": "opcua", "who": "anna"})


def test_anonymous_clients_read_only_where_that_is_set(camera, tmp_path):
    async def look(url):
        async with connected(url, tmp_path, None, policy=None) as plant:
            await plant.until_state("Operational", "ContinuousExecution")
            with pytest.raises(REFUSED, match="BadUserAccessDenied"):
                await plant.call(f"{MODE}.StartContinuous", "X", "")
        async with connected(url, tmp_path, "anna", policy=None) as plant:  # in the clear
            with pytest.raises(REFUSED, match="BadUserAccessDenied"):
                await plant.call(f"{MODE}.StartContinuous", "X", "")

    camera.open()
    camera.pass_(0)
    with served(camera, tmp_path, anonymous=True, policies=("None", "Basic256Sha256")) as url:
        asyncio.run(look(url))
    assert camera.changes.asked == []


def test_only_trusted_clients_connect_where_that_is_set(camera, tmp_path, caplog):
    trusted = tmp_path / "opcua" / "trusted"
    trusted.mkdir(parents=True)
    friend = open_identity(tmp_path / "friend" / "client")
    (trusted / "one.der").write_bytes(friend.certificate_der)

    async def state(url, folder):
        async with connected(url, folder) as plant:
            await plant.until_state("Operational", "ContinuousExecution")

    async def turned_away(url):
        attempt = asyncio.create_task(state(url, tmp_path / "stranger"))
        end_s = time.monotonic() + PATIENCE_S
        while "without a trusted certificate is turned away" not in caplog.text:
            assert time.monotonic() < end_s
            await asyncio.sleep(0.2)
        assert not attempt.done() or attempt.exception() is not None
        attempt.cancel()  # the client may wait for an answer for long
        await asyncio.gather(attempt, return_exceptions=True)

    camera.open()
    camera.pass_(0)
    with served(camera, tmp_path, trusted_only=True) as url:
        asyncio.run(state(url, tmp_path / "friend"))
        asyncio.run(turned_away(url))


def test_a_session_cannot_be_taken_over_by_its_number(camera, tmp_path):
    """asyncua 2.1 numbers sessions, and keeps one for a connection whose login on it was refused."""

    async def attempt(url):
        async with connected(url, tmp_path) as plant:
            thief = await client_of(url, tmp_path)
            await thief.connect_socket()
            try:
                await thief.send_hello()
                await thief.open_secure_channel()
                thief.uaclient.protocol.authentication_token = (
                    plant.client.uaclient.protocol.authentication_token
                )
                thief._server_nonce = plant.client._server_nonce
                with pytest.raises(REFUSED):
                    await thief.activate_session("anna", "a wrong password")
                with pytest.raises(REFUSED):
                    await thief.get_node(ua.ObjectIds.Server_ServerStatus_State).read_value()
            finally:
                thief.disconnect_socket()
            assert await plant.read("JobId") == "A17"

    camera.open()
    camera.pass_(0)
    with served(camera, tmp_path) as url:
        asyncio.run(attempt(url))


def test_several_cameras_have_their_names(camera, tmp_path):
    async def drive(url):
        async with connected(url, tmp_path, root="left") as left:
            await left.until_state("Operational", "ContinuousExecution")
            assert await left.read("JobId") == "A17"
            assert (await left.call(f"{MODE}.StartContinuous", "L2", ""))[0] == "L2"
        async with connected(url, tmp_path, root="right") as right:
            await right.until_state("Preoperational", None)

    beside = Camera(tmp_path / "right")
    camera.open()
    camera.pass_(0)
    with served(camera, tmp_path, beside) as url:
        asyncio.run(drive(url))
    assert [one.name for one in camera.changes.asked] == ["L2"]
    assert beside.changes.asked == []


def test_a_record_that_cannot_be_read_is_noted_and_the_state_is_shown_all_the_same(camera, tmp_path):
    async def drive(url):
        async with connected(url, tmp_path) as plant:
            await plant.until_state("Operational", "ContinuousExecution")
            camera.stack.close()  # what is in its log would be read else
            for side in ("-wal", "-shm"):
                camera.path.with_name(f"{camera.path.name}{side}").unlink(missing_ok=True)
            camera.path.write_bytes(b"no record" * 1000)

            async def is_noted():
                return camera.health.helpers.failures.get("opcua")

            await plant.until(is_noted)
            error = (await plant.call("ResultManagement.GetResultById", "A17"))[1]
            assert error == -1

    camera.open()
    camera.pass_(0)
    with served(camera, tmp_path) as url:
        asyncio.run(drive(url))
