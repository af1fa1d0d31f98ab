"""A path that is not there, or an empty folder: every command has one line and a documented exit code."""

from __future__ import annotations

import sys

import pytest

from edge.commands import loomsight as umbrella
from edge.core.errors import LoomsightError
from tests.unit.distill.tiny import write_untrained

COMMANDS = {
    "labels check": "labels check PATH",
    "labels convert": "labels convert PATH --out out --group ^(?P<group>.)",
    "labels convert clean": "labels convert labels.jsonl --to coco --out out.json --clean PATH",
    "labels split": "labels split PATH --out out --group ^(?P<group>.)",
    "labels flip": "labels flip PATH --out out",
    "labels stats": "labels stats PATH",
    "pseudo-label": "pseudo-label PATH --detector best.pt --out out",
    "pseudo-label reviewed": "pseudo-label images --reviewed PATH --detector best.pt --out out",
    "pseudo-label detector": "pseudo-label images --detector PATH --out out",
    "pseudo-label florence": "pseudo-label images --florence PATH --out out",
    "review": "review PATH",
    "teacher finetune": "teacher finetune PATH labels.jsonl --out out",
    "teacher annotate": "teacher annotate PATH images --out out.jsonl",
    "teacher annotate images": "teacher annotate model PATH --out out.jsonl",
    "teacher ask": "teacher ask PATH images/a.png",
    "teacher ask image": "teacher ask model PATH",
    "teacher merge": "teacher merge PATH model --out out",
    "sam finetune": "sam finetune PATH labels.jsonl --out out",
    "sam refine": "sam refine PATH labels.jsonl --out out.jsonl",
    "sam refine labels": "sam refine model PATH --out out.jsonl",
    "anchors": "anchors PATH",
    "distill": "distill PATH --out out",
    "distill start": "distill PATH --start-from PATH --out out",
    "prune": "prune PATH PATH --macs 0.5 --out out",
    "prune data": "prune best.pt PATH --macs 0.5 --out out",
    "scorecard": "scorecard PATH",
    "export": "export PATH --images images --out out",
    "export images": "export best.pt --images PATH --out out",
    "calib add": "calib add out PATH --source mill --licence own",
    "calib check": "calib check PATH",
    "calib report": "calib report PATH --data PATH",
    "bundle verify": "bundle verify PATH",
    "bundle install": "bundle install PATH store",
    "bundle rollback": "bundle rollback PATH",
    "bundle show": "bundle show PATH",
    "edge-run": "edge-run --camera folder:PATH",
    "edge-run model": "edge-run --camera folder:images --model PATH",
    "edge-bench": "edge-bench --model PATH",
    "roll list": "roll list PATH",
    "roll show": "roll show PATH",
    "roll report": "roll report PATH --out out",
    "roll export": "roll export PATH",
    "roll next": "roll next PATH",
}


def all_errors(kind=LoomsightError):
    yield kind
    for one in kind.__subclasses__():
        yield from all_errors(one)


DOCUMENTED = {kind.exit_code for kind in all_errors() if kind is not LoomsightError} | {2}


@pytest.fixture(scope="module")
def mill(tmp_path_factory):
    from tests.unit.distill.labels.label_sets import write_image

    root = tmp_path_factory.mktemp("mill")
    write_image(root / "images" / "a.png", (64, 64))
    (root / "labels.jsonl").write_text('{"prefix":"<OD>","suffix":"","image":"a.png"}\n')
    (root / "empty").mkdir()
    write_untrained(root / "best.pt")
    return root


@pytest.mark.parametrize("path", ["nowhere/at/all", "empty"], ids=["missing", "empty"])
@pytest.mark.parametrize("name", COMMANDS)
def test_one_line_and_a_documented_code(mill, monkeypatch, capfd, name, path):
    monkeypatch.chdir(mill)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    words = [word.replace("PATH", path) for word in COMMANDS[name].split()]
    monkeypatch.setattr(sys, "argv", ["loomsight", *words])
    before = {*mill.rglob("*")}
    with pytest.raises(SystemExit) as ended:
        umbrella.main()
    printed = capfd.readouterr()
    assert ended.value.code in DOCUMENTED, printed.err
    errors = [line for line in printed.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, printed.err
    assert "Traceback" not in printed.err
    assert {*mill.rglob("*")} == before, "nothing is left behind"
