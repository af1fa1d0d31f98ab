"""Name the messages of `loomsight mqtt check`: receivers skip them."""

from typing import Final

CHECK: Final = "check"
"""Kind of the messages that `loomsight mqtt check` publishes; on the topic of the status, their `state`."""
