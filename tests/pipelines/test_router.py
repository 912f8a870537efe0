"""Lines of KFP and of steps, told apart."""

import threading
from pathlib import Path

from pipelines.router import LineRouter, StepLog


def test_lines_go_where_their_thread_sends_them(tmp_path: Path) -> None:
    router = LineRouter(tmp_path / "kfp.log")
    taken: dict[str, list[str]] = {"a": [], "b": []}

    def work(name: str) -> None:
        router.route(taken[name].append)
        for number in range(100):
            router.write("    ")
            router.write(f"{name}{number}")
            router.write("\n")
        router.write("    the end without a line's end")
        router.unroute()

    threads = [threading.Thread(target=work, args=(name,)) for name in taken]
    router.write("\x1b[96mkfp\x1b[0m says\n")
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    router.close()
    assert (tmp_path / "kfp.log").read_text() == "kfp says\n"
    for name, lines in taken.items():
        assert lines == [*(f"{name}{number}" for number in range(100)), "the end without a line's end"]


def test_a_step_log_keeps_indentation_drops_trailing_blanks_and_takes_progress_out(tmp_path: Path) -> None:
    progress: list[str] = []
    log = StepLog(tmp_path / "step.log", "::progress ", progress.append)
    for line in ("one", "", "  two", '::progress {"done": 1}', "", " "):
        log.line(line)
    log.close()
    assert (tmp_path / "step.log").read_text() == "one\n\n  two\n"
    assert progress == ['{"done": 1}']
