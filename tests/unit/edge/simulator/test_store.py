from edge.simulator.store import BoundedStore


def test_what_is_held_is_not_made_again():
    store = BoundedStore(2)
    assert store.get(1, lambda: "made") == "made"
    assert store.get(1, lambda: "again") == "made"


def test_the_one_unused_longest_goes_first():
    store = BoundedStore(2)
    for key in (1, 2, 1, 3):
        store.get(key, lambda: "old")
    assert store.get(1, lambda: "new") == "old"
    assert store.get(2, lambda: "new") == "new"
    assert len(store) == 2


def test_weight_bounds_the_store_but_the_newest_stays():
    store = BoundedStore(10, len)
    for key in range(5):
        store.get(key, lambda: "four")
    assert (len(store), store.weight) == (2, 8)
    store.get(9, lambda: "longer than ten")
    assert (len(store), store.weight) == (1, 15)
