"""What runs leave of clips goes when the clips go."""

from trainer.leftovers import Leftovers, note_clips


def test_what_holds_of_a_removed_clip_is_deleted_and_the_rest_stays(tmp_path):
    left = Leftovers(tmp_path)
    assert left.forget(["a"]) == []
    for name in ("a", "b", "texts"):
        (left.kept / name).mkdir(parents=True)
        (left.kept / name / "x.safetensors").write_bytes(b"1")
    note_clips(left.runs / "of-a", ["a", "c"])
    note_clips(left.runs / "of-b", ["b"])
    (left.runs / "of-nobody-knows").mkdir()
    assert left.clip_ids() == {"a", "b", "c"}
    left.forget([])
    assert len(list(left.runs.iterdir())) == 3
    left.forget(["a"])
    assert sorted(path.name for path in left.kept.iterdir()) == ["b"]
    assert sorted(path.name for path in left.runs.iterdir()) == ["of-b"]
