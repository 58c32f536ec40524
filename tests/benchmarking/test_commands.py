"""Benchmarked commands take turns and report their costs; no test depends on time."""

from subprocess import CalledProcessError

import pytest

from benchmarking.commands import time_commands


def test_commands_take_turns_and_the_first_turn_does_not_count(tmp_path):
    writes = f"open({str(tmp_path / 'output')!r}, 'a').write('%s')"
    commands = {name: ["-c", writes % f"{name}{{turn}} "] for name in ("a", "b")}
    took = time_commands(commands, rounds=2)
    assert (tmp_path / "output").read_text() == "a0 b0 a1 b1 a2 b2 "
    assert {name: len(turns) for name, turns in took.items()} == {"a": 2, "b": 2}


@pytest.mark.slow
def test_memory_is_the_command_s_own_peak():
    commands = {"small": ["-c", ""], "large": ["-c", "bytearray(2**28)"], "after": ["-c", ""]}
    small, large, after = (turns[0].memory for turns in time_commands(commands, 1).values())
    assert large - small == pytest.approx(256, abs=5)
    assert after < small + 2


def test_a_failing_command_is_named():
    with pytest.raises(CalledProcessError, match="'import nothing_of_this_name'"):
        time_commands({"broken": ["-c", "import nothing_of_this_name"]}, rounds=1)
