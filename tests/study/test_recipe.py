from lit_privq.study.recipe import find


def test_a_key_is_found_at_any_depth() -> None:
    tree = {"a": [{"b": 1}, {"net": {"class_path": "x.y"}}], "c": {"net": 2}}
    assert find(tree, "net") == {"class_path": "x.y"}
    assert find(tree, "z") is None
