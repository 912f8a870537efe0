"""What TensorBoard will show."""

from pathlib import Path

from preflow.ppo.event_log import event_log


def scalars(folder: Path) -> dict[tuple[str, int], float]:
    """Every scalar of a folder's event files, by name and step."""
    from tensorboardX.proto.event_pb2 import Event

    found = {}
    for path in sorted(folder.glob("events.out.tfevents.*")):
        data = path.read_bytes()
        while data:
            length = int.from_bytes(data[:8], "little")
            event = Event.FromString(data[12 : 12 + length])
            data = data[16 + length :]
            found.update({(value.tag, event.step): value.simple_value for value in event.summary.value})
    return found


def test_rows_become_scalars_by_update(tmp_path: Path) -> None:
    with event_log(str(tmp_path), []) as write:
        write({"update": 1, "kl": 0.5, "reward/reward_model": -1.0})
        write({"update": 2, "kl": 1.5})
    assert scalars(tmp_path) == {("ppo/kl", 1): 0.5, ("ppo/reward/reward_model", 1): -1.0, ("ppo/kl", 2): 1.5}


def test_a_run_that_goes_on_elsewhere_has_its_first_updates_there_too(tmp_path: Path) -> None:
    with event_log(str(tmp_path), [{"update": 1, "kl": 0.5}]) as write:
        write({"update": 2, "kl": 1.5})
    assert scalars(tmp_path) == {("ppo/kl", 1): 0.5, ("ppo/kl", 2): 1.5}


def test_without_a_folder_nothing_is_written(tmp_path: Path) -> None:
    with event_log("", []) as write:
        write({"update": 1, "kl": 0.5})
    assert not list(tmp_path.iterdir())
