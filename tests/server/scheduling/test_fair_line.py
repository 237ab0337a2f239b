"""Connections take turns, whoever has sent more, and whoever came first."""

from hypothesis import given
from hypothesis import strategies as st

from crossrun_server.scheduling.fair_line import FairLine


def taken(line: FairLine[str], count: int) -> list[str]:
    """Let the next have their turns."""
    found = []
    for _ in range(count):
        found.append(next(iter(line)))
        line.take(found[-1])
    return found


def line_of(*items: str, rows: int = 1) -> FairLine[str]:
    """What a letter names is sent by the connection of that letter."""
    line = FairLine[str]()
    for item in items:
        line.enter(item, item[0], rows)
    return line


def test_one_connection_keeps_its_order() -> None:
    line = line_of("a1", "a2", "a3")
    assert list(line) == taken(line, 3) == ["a1", "a2", "a3"]


def test_who_comes_with_one_does_not_wait_for_all_of_another() -> None:
    """It goes behind the first that another has waiting, and again the next time."""
    line = line_of("a1", "a2", "a3", "a4", "b1")
    assert taken(line, 2) == ["a1", "b1"]
    line.enter("b2", "b")
    assert taken(line, 4) == ["a2", "b2", "a3", "a4"]


def test_nobody_starves_beside_one_who_always_has_another() -> None:
    """Who sends again before its last has run gets every second turn, not all of them."""
    line = line_of("a1", "a2", "a3", "b0", "b1")
    order = []
    for number in range(2, 6):
        order += taken(line, 1)
        line.enter(f"b{number}", "b")
    assert [item[0] for item in order].count("a") == 2


def test_turns_count_rows() -> None:
    """Who sends batches gets no more rows than who sends single ones."""
    line = FairLine[str]()
    for number in range(3):
        line.enter(f"a{number}", "a", rows=4)
    for number in range(8):
        line.enter(f"b{number}", "b")
    order = taken(line, 11)
    assert order.index("a1") < order.index("b5") < order.index("a2")


def test_who_leaves_holds_nobody_up() -> None:
    """Neither the others nor what the same connection sends afterwards."""
    line = line_of("a1", "a2", "b1")
    line.leave("a1")
    line.leave("a2")
    line.enter("a3", "a")
    assert list(line) == ["b1", "a3"]
    assert (line.rows, len(line)) == (2, 2)
    assert "a1" not in line


def test_it_is_known_how_much_runs_before_whom() -> None:
    """All of one's own, and of others what has its turn before."""
    line = line_of("a1", "a2", "a3", "a4")
    assert line.rows_before("a") == 4
    assert line.rows_before("b") == 1
    assert FairLine[str]().rows_before("a") == 0


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 5), st.booleans()), max_size=60))
def test_no_connection_gets_ahead_of_another(sent: list[tuple[str, int, bool]]) -> None:
    """While both wait, their rows differ by one request of each at most, whatever comes between."""
    line = FairLine[str]()
    for number, (connection, rows, _) in enumerate(sent):
        line.enter(f"{connection}{number}", connection, rows)
    sizes = {f"{connection}{number}": rows for number, (connection, rows, _) in enumerate(sent)}
    had = dict.fromkeys("abc", 0)
    while line:
        waiting = {item[0] for item in line}
        (item,) = taken(line, 1)
        had[item[0]] += sizes[item]
        counts = [had[connection] for connection in waiting]
        assert max(counts) - min(counts) <= 2 * 5
