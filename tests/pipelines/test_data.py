"""Public data sets by name, on the command line."""

import json

from titans_seq.cli import execute


def test_data_list_and_path(real_data, monkeypatch, capsys):
    monkeypatch.setenv("TITANS_SEQ_DATA", str(real_data))
    assert execute(["data", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["ETTh1"]["licence"] == "CC BY-ND 4.0"
    assert execute(["data", "path", "ETTh1"]) == 0
    assert capsys.readouterr().out.strip().endswith("ETTh1.csv")


def test_a_name_that_is_none(capsys):
    assert execute(["data", "path", "nope"]) == 2
    assert "no data set named 'nope'" in capsys.readouterr().err
