"""The store as a whole: opened by several processes."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from store.lock import hold
from store.records import Column
from store.store import Store


def test_several_may_open_a_new_store_at_once_and_bring_columns_of_their_own(tmp_path):
    together = Barrier(4)

    def opened(number: int) -> Store:
        together.wait()
        return Store.open(tmp_path / "data", [Column(name=f"own_{number % 2}", kind="float")])

    with ThreadPoolExecutor(4) as pool:
        stores = list(pool.map(opened, range(4)))
    stores[0].clips.upsert([{"clip_id": "a", "conditioning": "a red kite", "own_0": 1.0, "own_1": 2.0}])
    (found,) = Store.open(tmp_path / "data").clips.matching("kite")
    assert (found["own_0"], found["own_1"]) == (1.0, 2.0)


def test_a_process_that_was_stopped_while_it_opened_keeps_nobody_out(tmp_path):
    Store.open(tmp_path)
    with hold(tmp_path / "lance.opening"):
        assert Store.open(tmp_path).clips.count() == 0
