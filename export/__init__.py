"""Export a checkpoint to a bundle that a device can trust."""

COMMANDS = {
    "export": ("export.cli:app", "make a checked bundle of a checkpoint"),
    "calib": ("export.calib_cli:app", "add and judge the images that INT8 is calibrated on"),
}
"""The commands of `loomsight` here: application and one line each. To read it takes no time."""
