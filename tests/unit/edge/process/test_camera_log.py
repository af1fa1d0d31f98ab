"""Log lines that name their camera, also from threads that were started for it."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor

from edge.process.camera_log import about_camera, as_here
from edge.process.console import configure_logging

logger = logging.getLogger("edge.test")


def test_lines_name_the_camera_of_their_thread(capsys):
    configure_logging()

    def work():
        logger.info("from a thread")

    with about_camera("left"):
        logger.info("here")
        thread = threading.Thread(target=as_here(work))
        with about_camera("right"):
            pool = ThreadPoolExecutor(1, initializer=as_here())
            thread.start()
            with pool:
                pool.submit(work).result()
    thread.join()
    logger.info("nobody's")
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "INFO edge.test: left: here"
    told = [line.removeprefix("INFO edge.test: ") for line in sorted(lines[1:3])]
    assert told == ["left: from a thread", "right: from a thread"]
    assert lines[3] == "INFO edge.test: nobody's"
