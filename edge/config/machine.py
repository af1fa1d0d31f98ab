"""Define the table `[machine]`: how to reach the machine."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from typing_extensions import Self

from edge.core.address import checked_host

Host = Annotated[str, AfterValidator(checked_host)]
Address = Annotated[int, Field(ge=0, le=65535)]


class MachineSettings(BaseModel):
    """Hold how a stop is delivered.

    Attributes:
        kind: `modbus` (Modbus/TCP) or `gpio` (a line of this device, through libgpiod); None: there is
            none.
        host, port: of the Modbus server, usually the machine's PLC.
        device_id: its unit number.
        coil: set to stop the machine.
        holding_register: in place of a coil.
        register_value: what is written to it to stop the machine; 0 takes it back, so it is no 0.
        read_back: read what was written, and take anything else for a failure. Switch it off for a PLC that
            takes the signal back at once.
        running_input: discrete input that is set while the machine runs; None if there is none.
        heartbeat_register: holding register that counts while inspection goes on; None if there is none.
        heartbeat_coil: in place of a register; it changes.
        heartbeat_s: between two values.
        roll_input: discrete input, or line of the chip, whose rising edge begins the next roll; None if
            there is none. It is read whatever `stop` says.
        roll_active_low: the line of `roll_input` is set when it is low.
        roll_hold_s: a change of it counts once it has held for so long.
        chip, line: of libgpiod, for instance `/dev/gpiochip0` and 17.
        active_low: the line stops the machine when it is low.
        release_after_s: take the signal back after this time; None: it stays until somebody does.
        timeout_s: of a connection and of an answer.
        retries: after the first try.
        give_up_s: a stop that is not delivered by then is not delivered at all: it would surprise.
        probe_s: pause between two looks at an idle connection.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    kind: Literal["modbus", "gpio"] | None = None
    host: Host = "127.0.0.1"
    port: int = Field(default=502, ge=1, le=65535)
    device_id: int = Field(default=1, ge=0, le=255)
    coil: Address | None = None
    holding_register: Address | None = None
    register_value: int = Field(default=1, ge=1, le=65535)
    read_back: bool = True
    running_input: Address | None = None
    heartbeat_register: Address | None = None
    heartbeat_coil: Address | None = None
    heartbeat_s: float = Field(default=1.0, ge=0.1, le=60)
    roll_input: Address | None = None
    roll_active_low: bool = False
    roll_hold_s: float = Field(default=0.5, ge=0, le=60)
    chip: str = "/dev/gpiochip0"
    line: int | None = Field(default=None, ge=0)
    active_low: bool = False
    release_after_s: float | None = Field(default=None, gt=0, le=3600)
    timeout_s: float = Field(default=0.5, gt=0, le=60)
    retries: int = Field(default=3, ge=0, le=20)
    give_up_s: float = Field(default=5.0, gt=0, le=60)
    probe_s: float = Field(default=5.0, gt=0, le=3600)

    @model_validator(mode="after")
    def _has_a_signal(self) -> Self:
        if self.kind == "modbus" and (self.coil is None) == (self.holding_register is None):
            raise ValueError("modbus needs either coil or holding_register")
        if self.kind == "gpio" and self.line is None:
            raise ValueError("gpio needs line")
        if self.roll_input is not None and self.kind is None:
            raise ValueError("roll_input needs a kind")
        if self.kind == "gpio" and self.roll_input == self.line:
            raise ValueError("line and roll_input are the same")
        return self

    @model_validator(mode="after")
    def _has_a_heartbeat_of_its_own(self) -> Self:
        register, coil = self.heartbeat_register, self.heartbeat_coil
        if register is not None and coil is not None:
            raise ValueError("heartbeat_register and heartbeat_coil exclude each other")
        if self.has_heartbeat and self.kind != "modbus":
            raise ValueError('a heartbeat needs kind = "modbus"')
        if register is not None and register == self.holding_register:
            raise ValueError("holding_register and heartbeat_register are the same")
        if coil is not None and coil == self.coil:
            raise ValueError("coil and heartbeat_coil are the same")
        return self

    @property
    def has_heartbeat(self) -> bool:
        """Whether the machine is told that inspection goes on."""
        return self.heartbeat_register is not None or self.heartbeat_coil is not None
