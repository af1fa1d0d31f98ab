"""Define the commands of the workbench, one module each; they import torch only once they run."""

COMMANDS = {
    "labels": (
        "distill.commands.labels_cli:app",
        "convert, check, count, split and flip labelled images",
    ),
    "pseudo-label": (
        "distill.commands.pseudo_label_cli:command",
        "label images by several annotators, for distill and review",
    ),
    "review": ("distill.commands.review_cli:app", "decide about pseudo-labels on a local page"),
    "teacher": (
        "distill.commands.teacher_cli:app",
        "fine-tune the labelling teacher, and ask it about images",
    ),
    "sam": ("distill.commands.sam_cli:app", "teach a SAM the mill's defects, give boxes outlines"),
    "anchors": ("distill.commands.anchors_cli:app", "find anchors that fit the boxes of a data set"),
    "distill": ("distill.commands.distill_cli:app", "train a detector on a data set folder"),
    "prune": ("distill.commands.prune_cli:app", "make a trained detector smaller, and let it recover"),
    "gate": ("distill.commands.gate_cli:app", "let a new bundle pass only if no article gets worse"),
    "scorecard": ("distill.commands.scorecard_cli:app", "print and plot models side by side"),
}
"""The commands of `loomsight` here: application and one line each. To read it takes no time."""
