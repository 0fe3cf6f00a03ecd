"""benchmarks/README.md says what the results say."""

import json
import shutil

from benchmarks import readme
from benchmarks.__main__ import execute


def test_the_page_is_current():
    """`make bench-readme` writes it."""
    assert (readme.FOLDER / "README.md").read_text(encoding="utf-8") == readme.render(readme.FOLDER / "results")


def test_the_newest_result_of_each_name_counts(tmp_path):
    folder = tmp_path / "results"
    folder.mkdir()
    (old,) = (readme.FOLDER / "results").glob("scan-2026-11-25.json")
    shutil.copy(old, folder)
    result = json.loads(old.read_text())
    result["commit"] = "a-commit"
    del result["hardware"]
    (folder / "scan-2030-01-01.json").write_text(json.dumps(result))
    assert execute(["readme", "--results", str(folder), "--out", str(tmp_path / "README.md")]) == 0
    page = (tmp_path / "README.md").read_text()
    assert "a-commit" in page
    assert str(json.loads(old.read_text())["commit"]) not in page
    assert "| not recorded |" in page
    assert "(results/scan-2030-01-01.json)" in page
