"""`cliploom dead` against a live service."""


def test_open_letters_are_listed_by_step_and_kind(run, live, letter):
    live.apply(letter("d1", step="embed", kind="exhausted"), letter("d2", step="embed", kind="bug"), letter("d3"))

    out = run("dead", "list", "--step", "embed", "--kind", "exhausted")[1]

    assert "d1" in out
    assert "exhausted" in out
    assert "d2" not in out
    assert "d3" not in out
    assert run("dead", "list", "--kind", "cursed")[0] == 2


def test_a_letter_tells_where_it_died_and_what_happened_to_it_since(run, live, letter):
    live.apply(letter("d1", raw=b"\x00", step="embed", kind="exhausted"))

    before = run("dead", "show", "d1")[1]
    assert "exhausted" in before
    assert "origin_offset" in before
    assert "Traceback: ..." in before
    assert "not a record" in before
    assert "replayed_at" not in before

    run("dead", "replay", "d1", "--by", "Ada")

    after = run("dead", "show", "d1")[1]
    assert "replayed_at" in after
    assert "Ada" in after


def test_several_letters_are_replayed_by_their_ids(run, live, letter):
    live.apply(letter("d1"), letter("d2"), letter("d3"))

    code, out, _ = run("dead", "replay", "d1", "d3", "--by", "Ada")

    assert code == 0
    assert "d1 its record is back on topic footage.submitted" in out
    assert "2 of 2 replayed" in out
    assert [one["dead_id"] for one in live.replayed] == ["d1", "d3"]
    assert "d3" not in run("dead", "list")[1]
    assert "d3" in run("dead", "list", "--all")[1]


def test_an_unknown_letter_among_several_fails_the_command_and_not_the_others(run_json, live, letter):
    live.apply(letter("d1"))

    code, answer = run_json("dead", "replay", "d1", "nope")

    assert code == 1
    assert {one["dead_id"]: one["replayed"] for one in answer["results"]} == {"d1": True, "nope": False}


def test_all_that_match_are_replayed_once_the_person_agrees(run, run_json, live, letter):
    live.apply(letter("d1", step="embed"), letter("d2", step="embed", second=1), letter("d3"))

    code, _, told = run("dead", "replay", "--step", "embed", "--all-matching", given="n\n")
    assert code == 1
    assert "Replay 2 dead letter(s)?" in told
    assert live.replayed == []

    code, answer = run_json("dead", "replay", "--step", "embed", "--all-matching", "--yes")
    assert code == 0
    assert [one["dead_id"] for one in answer["results"]] == ["d1", "d2"]
    assert [one["dead_id"] for one in live.replayed] == ["d1", "d2"]


def test_nothing_that_matches_is_no_failure(run):
    code, out, told = run("dead", "replay", "--kind", "bug", "--all-matching")

    assert (code, told) == (0, "")
    assert "0 of 0 replayed" in out


def test_a_replay_says_which_letters_it_means(run, live, letter):
    live.apply(letter("d1"))

    for arguments in ([], ["d1", "--all-matching"], ["--all-matching"], ["--step", "embed"], ["d1", "--kind", "bug"]):
        assert run("dead", "replay", *arguments)[0] == 2
    assert live.replayed == []


def test_a_letter_is_given_up_with_a_reason(run, live, letter):
    live.apply(letter("d1"))

    assert run("dead", "drop", "d1", "--by", "Ada")[0] == 2
    assert run("dead", "drop", "d1", "--by", "Ada", "--note", "no other copy [sic]")[0] == 0

    assert "d1" not in run("dead", "list")[1]
    assert "no other copy [sic]" in run("dead", "show", "d1")[1]
    assert run("dead", "drop", "d1", "--by", "Ada", "--note", "again")[0] == 1
