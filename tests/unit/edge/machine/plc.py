"""A real Modbus/TCP server in a thread, that can be taken down and brought back."""

from __future__ import annotations

import asyncio
import threading

from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from tests.ports import HeldPort

COILS, INPUTS, HOLDING = 1, 2, 3
WRITE = {COILS: 5, INPUTS: 2, HOLDING: 6}


class Plc:
    """Serve 16 coils, discrete inputs and holding registers, all 0, on a free port of localhost.

    Attributes:
        takes_back: writes are acknowledged, and taken back at once.
        written: function, address and values of what clients wrote.
    """

    def __init__(self) -> None:
        self._held = HeldPort()
        self.port = self._held.number
        self.takes_back = False
        self.written = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = None

    def __enter__(self):
        self.up()
        return self

    def __exit__(self, *_):
        self.down()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()
        self._held.release()

    def up(self):
        async def serve():
            bits = [SimData(0, count=16, values=False, datatype=DataType.BITS)]
            words = [SimData(0, count=16, values=0, datatype=DataType.REGISTERS)]
            device = SimDevice(1, simdata=(bits, bits, words, words), action=self._written)
            server = ModbusTcpServer(device, address=("127.0.0.1", self.port))
            await server.serve_forever(background=True)
            return server

        self._server = self._on_loop(serve())

    def down(self):
        if self._server is not None:
            self._on_loop(self._server.shutdown())
            self._server = None

    def read(self, function, address):
        return int(self._on_loop(self._server.async_getValues(1, function, address, 1))[0])

    def write(self, function, address, value):
        values = [value if function == HOLDING else bool(value)]
        self._on_loop(self._server.async_setValues(1, WRITE[function], address, values))

    async def _written(self, function, start, address, count, registers, values):
        if values is not None:
            self.written.append((function, address, [int(value) for value in values]))
        if values is not None and self.takes_back and any(values):
            none = [type(value)(0) for value in values]
            self._after_echo = asyncio.ensure_future(
                self._server.async_setValues(1, function, address, none)
            )

    def _on_loop(self, work):
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(5)
