"""What a Deployment and its ReplicaSets say about each other."""

from pinnace.controllers import templates


def test_a_revision_joins_the_history() -> None:
    assert templates.longer_history("", "1") == "1"
    assert templates.longer_history("1,3", "5") == "1,3,5"


def test_a_history_too_long_forgets_its_oldest_revisions() -> None:
    history = ",".join(str(number) for number in range(1000, 1400))
    assert len(history) == 1999

    longer = templates.longer_history(history, "1400")

    assert longer == ",".join(str(number) for number in range(1001, 1401))
