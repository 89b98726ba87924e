from __future__ import annotations

import pytest

from lit_privq.arguments import in_order, sentence


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        (
            ["--x", "1", "--config", "a.yaml", "--config=b.yaml"],
            ["--config", "a.yaml", "--config", "b.yaml", "--x", "1"],
        ),
        (["--x", "1", "-c", "a.yaml"], ["-c", "a.yaml", "--x", "1"]),
        (["--x", "a", "b"], ["--x", "[a, b]"]),
        (["--x", "[a, b]"], ["--x", "[a, b]"]),
        (["--x", "2", '{"*": 2, "fc": 8}'], ["--x", '[2, {"*": 2, "fc": 8}]']),
        (["--w", "a", "b"], ["--w", "a", "b"]),
        (["--w", '["a", "b"]'], ["--w", "a", "b"]),
        (["--w=[a]", "--x=-1", "--flag"], ["--w", "a", "--x", "-1", "--flag"]),
        (["DIR", "--x", "1"], ["DIR", "--x", "1"]),
        (["--print_config=skip_null"], ["--print_config=skip_null"]),
    ],
)
def test_configs_go_first_and_lists_take_the_form_of_their_parser(typed: list[str], read: list[str]) -> None:
    assert in_order(typed, words=["--w"]) == read


def test_a_misspelt_class_path_deep_in_a_message_is_one_sentence() -> None:
    said = sentence(
        """Parser key "model":
          Does not validate against any of the Union subtypes
          Subtypes: [<class 'int'>, <class 'str'>]
            - Problem with given class_path 'lit_privq.Classifier':
                Parser key "net": Problem with given class_path 'my_nett.Net': No module named 'my_nett'
          Given value type: <class 'dict'>"""
    )
    assert said == (
        "model.net: there is no class or function my_nett.Net (No module named 'my_nett'); check its spelling, "
        "and that its package is installed or in PYTHONPATH"
    )


def test_any_other_message_keeps_its_words_in_one_line() -> None:
    assert sentence("Key 'x':\n  - Expected a <class 'int'>\n  Expected a <class 'NoneType'>") == (
        "Key 'x': Expected a <class 'int'>"
    )
