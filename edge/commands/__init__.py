"""Parse the command lines of the edge: flags in, text and exit codes out."""

COMMANDS = {
    "simulate": (
        "edge.commands.simulate_cli:app",
        "write a data set of simulated cloth with exact ground truth",
    ),
    "bundle": ("edge.commands.bundle_cli:app", "verify, install, roll back and show bundles"),
    "teach": ("edge.commands.teach_cli:app", "learn an article from clean cloth, promise a rate of alarms"),
    "edge-run": ("edge.commands.run_cli:app", "find defects in what a camera delivers"),
    "roll": ("edge.commands.roll_cli:app", "list, show, report, export and import recorded rolls"),
    "user": ("edge.commands.user_cli:app", "add, list and remove users of the live page, each with a role"),
    "audit": ("edge.commands.audit_cli:app", "show, verify and export who did what, and when"),
    "stop": ("edge.commands.stop_cli:app", "check that this device can stop the machine"),
    "mqtt": ("edge.commands.mqtt_cli:app", "check the broker, print the schema of the messages"),
    "opcua": ("edge.commands.opcua_cli:app", "check the OPC UA server, keep the users of it"),
    "office": ("edge.commands.office_cli:app", "collect what all devices report, and answer from it"),
    "agent": (
        "edge.commands.agent_cli:app",
        "fetch bundles and article files that the office releases",
    ),
    "service": ("edge.commands.service_cli:app", "print a systemd unit for this device"),
    "edge-bench": ("edge.commands.bench_cli:app", "measure the loop against the bare engine"),
    "edge-doctor": ("edge.commands.doctor_cli:app", "say what this device has and lacks"),
}
"""The commands of `loomsight` here: application and one line each. To read it takes no time."""
