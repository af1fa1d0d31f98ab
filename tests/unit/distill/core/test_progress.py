"""How a training is shown."""

from distill.core.progress import LOG_LINE_S, ConsoleListener


def test_into_a_log_go_a_line_a_minute_and_one_for_each_epoch(capfd):
    now_s = [0.0]
    with ConsoleListener(epochs=2, clock=lambda: now_s[0]) as listener:
        for done in (1, 2, 3):
            now_s[0] += 0.6 * LOG_LINE_S
            listener.batch_done(0, done, 5, loss=1.5)
        row = {"epoch": 0, "tiles": 80, "seconds": 4.0, "loss": 1.5, "map50": 0.25, "map50_95": 0.125}
        listener.epoch_done(row)
    lines = capfd.readouterr().err.split("\n")
    assert [line for line in lines if line.startswith("epoch 1/2  step")] == [
        "epoch 1/2  step 2/5  loss 1.50"
    ]
    assert [line for line in lines if "mAP50 0.250" in line and "20 tiles/s" in line]
