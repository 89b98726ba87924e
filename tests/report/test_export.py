import csv
from io import StringIO
from urllib.parse import unquote

from lit_privq.report.export import address, csv_text, latex
from lit_privq.report.table import PageCell, PageRow, PageTable

TABLE = PageTable(
    ("Model", "TPR at 1\xa0% FPR", "R²"),
    (
        PageRow("Full, precision", "none", (PageCell("12.8\xa0%", "9.3 to 18.6\xa0%"), PageCell("−0.1"))),
        PageRow("my_method", "mine", (PageCell("3.0\xa0%", strong=True), PageCell("–"))),
    ),
)


def test_csv_gives_back_every_cell_and_a_column_for_notes_only_where_there_are_any() -> None:
    assert list(csv.reader(StringIO(csv_text(TABLE)))) == [
        ["Model", "TPR at 1 % FPR", "TPR at 1 % FPR: note", "R²"],
        ["Full, precision", "12.8 %", "9.3 to 18.6 %", "−0.1"],
        ["my_method", "3.0 %", "", "–"],
    ]


def test_latex_is_a_tabular_of_booktabs_whose_special_letters_are_escaped() -> None:
    assert latex(TABLE).splitlines() == [
        r"\begin{tabular}{lrr}",
        r"\toprule",
        r"Model & TPR at 1~\% FPR & R$^2$ \\",
        r"\midrule",
        r"Full, precision & 12.8~\% (9.3 to 18.6~\%) & $-$0.1 \\",
        r"\addlinespace",
        r"my\_method & \textbf{3.0~\%} & -- \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]


def test_a_file_in_an_address_is_read_back_as_it_was() -> None:
    kind, text = address(csv_text(TABLE), "text/csv").split(",", 1)
    assert kind == "data:text/csv;charset=utf-8"
    assert unquote(text) == csv_text(TABLE)
