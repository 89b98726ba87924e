import subprocess
import sys


def test_the_report_imports_numpy_matplotlib_and_jinja_only() -> None:
    code = "import sys, lit_privq.report.page; print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert {"numpy", "matplotlib", "jinja2"} <= set(loaded)
    assert not {"torch", "lightning", "pandas", "scipy", "wandb", "jsonargparse"} & set(loaded)


def test_the_help_imports_none_of_them() -> None:
    code = "import sys, lit_privq.report; print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"numpy", "matplotlib", "jinja2"} & set(loaded)
