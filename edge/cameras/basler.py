"""Read Basler cameras through pypylon: line and area scan, GigE and USB3, and pylon's emulator."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import numpy as np
from typing_extensions import Self

from edge.cameras.device_options import DeviceOptions, Placing, parse_device
from edge.cameras.encoder import GREATEST, encoder_dialects
from edge.cameras.genicam_locks import remove_stale_locks
from edge.cameras.isolated import CameraProcess, IsolatedCamera
from edge.cameras.protocol import Camera, Frame, NoFrameYetError
from edge.core.errors import CameraLostError, CameraNotFoundError, ConfigError, MissingPackageError
from edge.core.image import Image
from edge.process.packages import install_module

WAIT_MS = 200
"""How long a read waits before it says that there is no frame yet."""

BUFFERS = 16

NODES = (
    ("width", ("Width",)),
    ("height", ("Height",)),
    ("exposure_us", ("ExposureTime", "ExposureTimeAbs")),
    ("line_rate_hz", ("AcquisitionLineRate", "AcquisitionLineRateAbs")),
    ("frame_rate_hz", ("AcquisitionFrameRate", "AcquisitionFrameRateAbs")),
)
"""Settings and the nodes that hold them; older cameras have the second name."""

NO_NUMBER = 2**64 - 1
"""pylon's block id of a camera that counts nothing."""


class BaslerCamera(Camera):
    """Deliver the frames of a Basler camera. Buffers that did not come whole are counted, never delivered.

    Args:
        name: what to call it.
        options: which camera, and its settings.
        mm_per_px: scale on the cloth, across; None if not known.
    """

    is_live = True

    def __init__(self, name: str, options: DeviceOptions, mm_per_px: float | None = None) -> None:
        self.name = name
        self.is_paced = options.is_paced
        self._options = options
        self._mm_per_px = mm_per_px
        self._pylon: Any = None
        self._genicam: Any = None
        self._device: Any = None
        self._placing = Placing(options, mm_per_px)

    @property
    def counters(self) -> Mapping[str, int]:
        """Buffers that did not come whole, and frames that did not come at all."""
        return self._placing.counters

    def __enter__(self) -> Self:
        self._pylon, self._genicam = _pylon()
        try:
            self._device = self._pylon.InstantCamera(self._found())
            self._device.Open()
        except self._genicam.GenericException as error:
            raise CameraNotFoundError(
                f"Cannot open the Basler camera {self.name}: {_first_line(error)}.",
                "Check its cable, power and IP address; no other program may have it open.",
            ) from error
        try:
            self._set_up()
            self._device.MaxNumBuffer.Value = BUFFERS
            self._device.StartGrabbing(self._pylon.GrabStrategy_OneByOne)
        except BaseException:
            self._device.Close()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        device, self._device = self._device, None
        if device is not None:
            device.StopGrabbing()
            device.Close()

    def read(self) -> Frame | None:
        """Return the next whole frame; see `Camera.read`.

        Raises:
            ImageError: for an incomplete buffer of a camera without positions.
            CameraLostError: if the camera is gone.
            NoFrameYetError: if no frame came within a moment, or one of a camera with positions is lost.
        """
        device = self._device
        if device is None:
            raise CameraLostError(f"The camera {self.name} is closed.", "Open it again.")
        try:
            result = device.RetrieveResult(WAIT_MS, self._pylon.TimeoutHandling_Return)
        except self._genicam.GenericException as error:
            raise self._lost(_first_line(error)) from error
        with result:
            if result.IsValid():
                return self._frame_of(result)
        if device.IsCameraDeviceRemoved() or not device.IsGrabbing():
            raise self._lost("it was unplugged")
        raise NoFrameYetError

    def _frame_of(self, result: Any) -> Frame:
        number, now_s = result.GetBlockID(), time.monotonic()
        counter = None if number == NO_NUMBER else number
        frame_id, place = self._placing.place(counter, result.GetHeight(), now_s)
        if not result.GrabSucceeded():
            raise self._placing.incomplete(self.name, place, result.GetErrorDescription())
        return Frame(
            frame_id,
            self._image_of(result),
            now_s,
            self.name,
            place,
            self._mm_per_px,
            self._options.is_line_scan,
            counter=counter,
        )

    def _image_of(self, result: Any) -> Image:
        """Return an image of 8 bits; the buffer is the camera's again when the result is released."""
        pylon = self._pylon
        if result.GetPixelType() in (pylon.PixelType_Mono8, pylon.PixelType_BGR8packed):
            return np.array(result.GetArray(), np.uint8)
        converter = pylon.ImageFormatConverter()
        is_grey = pylon.IsMono(result.GetPixelType())
        converter.OutputPixelFormat = pylon.PixelType_Mono8 if is_grey else pylon.PixelType_BGR8packed
        return np.array(converter.Convert(result).GetArray(), np.uint8)

    def _found(self) -> Any:
        factory = self._pylon.TlFactory.GetInstance()
        if self._options.serial is None:
            return factory.CreateFirstDevice()
        wanted = self._pylon.DeviceInfo()
        wanted.SetSerialNumber(self._options.serial)
        return factory.CreateDevice(wanted)

    def _set_up(self) -> None:
        """Write the settings into the camera.

        Raises:
            ConfigError: if the camera has no such setting or does not take the value.
        """
        for key, nodes in NODES:
            value = getattr(self._options, key)
            if value is not None:
                self._write(key, nodes, value)
        if self._options.trigger is not None:
            selector = "LineStart" if self._options.is_line_scan else "FrameStart"
            self._write("trigger", ("TriggerSelector",), selector)
            self._write("trigger", ("TriggerMode",), "On")
            self._write("trigger", ("TriggerSource",), self._options.trigger)
        self._set_up_encoder()
        self._set_up_emulator()

    def _set_up_encoder(self) -> None:
        dialects = encoder_dialects(self._options)
        nodemap = self._device.GetNodeMap()
        spoken = next((each for each in dialects if self._has(nodemap.GetNode(each[0].node))), None)
        if dialects and spoken is None:
            raise self._has_no("encoder")
        for name, value in spoken or ():
            node = nodemap.GetNode(name)
            if not self._has(node):
                raise self._has_no("encoder")
            if value is None:
                node.Execute()
            else:
                self._write("encoder", (name,), node.Max if value == GREATEST else value)

    def _has(self, node: Any) -> bool:
        return node is not None and bool(self._genicam.IsAvailable(node))

    def _set_up_emulator(self) -> None:
        if self._options.pictures is not None:
            self._write("pictures", ("TestImageSelector",), "Off")
            self._write("pictures", ("ImageFilename",), self._options.pictures)
            self._write("pictures", ("ImageFileMode",), "On")
        if self._options.forced_failures:
            self._write("forced_failures", ("ForceFailedBufferCount",), self._options.forced_failures)
            self._device.GetNodeMap().GetNode("ForceFailedBuffer").Execute()

    def _write(self, key: str, nodes: tuple[str, ...], value: object) -> None:
        nodemap = self._device.GetNodeMap()
        for name in nodes:
            node = nodemap.GetNode(name)
            if node is not None and self._genicam.IsWritable(node):
                try:
                    node.Value = value
                except Exception as error:
                    problem = f"{self.name}: the camera does not take {key}={value}: {_first_line(error)}."
                    raise ConfigError(problem, "See its data sheet.") from error
                return
        raise self._has_no(key)

    def _has_no(self, key: str) -> ConfigError:
        return ConfigError(f"{self.name}: the camera has no setting for {key}.", "Leave it out.")

    def _lost(self, problem: str) -> CameraLostError:
        return CameraLostError(f"The camera {self.name} is lost: {problem}.", "Check its cable and power.")


def camera_at(address: str, mm_per_px: float | None = None) -> IsolatedCamera:
    """Build the camera of an address, which will live in a process of its own: pylon may hang.

    Raises:
        ConfigError: if its settings are wrong.
    """
    arguments = {"source": address, "mm_per_px": mm_per_px}
    is_paced = parse_device(address).is_paced
    return IsolatedCamera(CameraProcess(address, f"{__name__}:open_basler", arguments, is_paced))


def open_basler(source: str, mm_per_px: float | None = None) -> BaslerCamera:
    """Build the camera of an address, for a process of its own."""
    return BaslerCamera(source, parse_device(source), mm_per_px)


def listed() -> list[str]:
    """Describe each Basler camera that is there; one that nobody has open with what it can deliver."""
    pylon, genicam = _pylon()
    factory, lines = pylon.TlFactory.GetInstance(), []
    for info in factory.EnumerateDevices():
        what = f"{info.GetModelName()}, serial {info.GetSerialNumber()}, {info.GetDeviceClass()}"
        try:
            device = pylon.InstantCamera(factory.CreateDevice(info))
            device.Open()
            lines.append(f"{what}: {_delivers(device, genicam)}")
            device.Close()
        except genicam.GenericException as error:
            lines.append(f"{what}: cannot be opened ({_first_line(error)})")
    return lines


def _delivers(device: Any, genicam: Any) -> str:
    formats = " ".join(device.PixelFormat.Symbolics)
    said = [f"up to {device.Width.Max} x {device.Height.Max} px", formats]
    for name, unit in (("AcquisitionLineRate", "lines/s"), ("AcquisitionFrameRate", "frames/s")):
        for node in (name, f"{name}Abs"):
            with suppress(genicam.GenericException):
                said.append(f"up to {getattr(device, node).Max:g} {unit}")
                break
    return ", ".join(said)


def _pylon() -> tuple[Any, Any]:
    remove_stale_locks()  # loading pylon already waits for them
    try:
        from pypylon import genicam, pylon
    except ImportError as error:
        raise MissingPackageError(
            f"Basler cameras need pypylon: {error}.",
            f"Install it: `{install_module('pypylon')}`.",
        ) from error
    return pylon, genicam


def _first_line(error: Exception) -> str:
    return str(error).split(" : ")[0].strip().rstrip(".") or type(error).__name__
