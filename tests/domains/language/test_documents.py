"""Documents: read from where people have them, trained on and scored each on its own."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

from titans_seq.cli import execute
from titans_seq.domains.language import Documents, TitansLM
from titans_seq.domains.language.document_segments import DocumentSegments, EvenDocuments
from titans_seq.domains.language.evaluation import window_nats
from titans_seq.domains.language.network import LanguageConfig, LanguageNetwork
from titans_seq.domains.language.segments import NextTokenLoss, Segments, next_token_loss
from titans_seq.domains.language.vocabulary import IGNORED, Bytes
from titans_seq.errors import DataError, TitansSeqWarning
from titans_seq.training import temporary_seed

SMALL = {"dim": 16, "layers": 1, "heads": 2, "chunk_size": 4, "window": 8, "epoch_steps": 5, "max_epochs": 1}
ROWS = [torch.arange(n, dtype=torch.int16) + 100 * i for i, n in enumerate((5, 12, 40, 3))]


def network():
    from titans_seq.backbone import BackboneConfig

    with temporary_seed(0):
        config = BackboneConfig(variant="mag", dim=16, layers=2, heads=2, window=8, chunk_size=4)
        return LanguageNetwork(LanguageConfig(vocabulary=400, backbone=config)).eval()


def test_segments_stay_within_a_document():
    segments = DocumentSegments(ROWS, 8, 32, 40, seed=0)
    whole = {0: 0, 3: 0}
    seen = set()
    for batch in segments:
        assert batch.fresh.all()
        assert batch.tokens[:, 1:].numel() <= 32
        for row in batch.tokens:
            real = row[row != IGNORED]
            assert (row[: len(real)] == real).all(), "padding stands behind"
            document = int(real[0]) // 100
            assert (real.diff() == 1).all()
            assert (real // 100 == document).all()
            assert len(real) == min(9, len(ROWS[document]))
            whole[document] = whole.get(document, 0) + (int(real[0]) % 100 == 0)
            seen |= set(real.tolist())
    assert seen == {int(t) for row in ROWS for t in row}, "every token is read"
    assert whole[0] > 0
    assert whole[3] > 0
    again = [b.tokens for b in DocumentSegments(ROWS, 8, 32, 40, seed=0)]
    assert all(torch.equal(a, b.tokens) for a, b in zip(again, DocumentSegments(ROWS, 8, 32, 40, seed=0), strict=True))


def test_padding_has_no_loss_and_changes_none():
    net, loss = network(), NextTokenLoss()
    (batch,) = EvenDocuments([ROWS[0], ROWS[1]], 20, 100)
    assert batch.weight == 4 + 11
    with torch.no_grad():
        alone = [next_token_loss(net(row[None, :-1])[0], row[None, 1:]).sum() for row in ROWS[:2]]
        assert float(loss(net, batch)) == pytest.approx(float(sum(alone)) / batch.weight, rel=1e-5)
        assert window_nats(net, ROWS[:2], 20) == pytest.approx(float(sum(alone)), rel=1e-5)
    net.train()
    loss(net, batch).backward()
    assert all(torch.isfinite(p.grad).all() for p in net.parameters() if p.grad is not None)


def test_the_mean_over_batches_counts_tokens():
    from titans_seq.training.processes import weight_of

    assert weight_of(Segments(torch.tensor([[1, 2, IGNORED], [1, 2, 3]]), torch.ones(2, dtype=torch.bool))) == 3
    assert weight_of([1, 2]) == 2


def test_what_is_fitted_to_documents_ends_them_and_scores_each_alone(tmp_path):
    texts = ["abab" * n + "." for n in (2, 5, 9, 3)] * 5
    model = TitansLM(**SMALL | {"epoch_steps": 60, "max_epochs": 2, "learning_rate": 1e-2}).fit(Documents(texts))
    assert len(model.generate("abab", max_new_tokens=300, seed=0)) < 300, "it has learned to end"
    bits = model.bits_per_byte(Documents(texts[:3]))
    alone = [model.bits_per_byte(text) * len(text) for text in texts[:3]]
    assert bits == pytest.approx(sum(alone) / sum(map(len, texts[:3])), rel=1e-5)
    assert model.score(Documents(texts[:3])) == -bits
    model.save(tmp_path / "model")
    assert TitansLM.load(tmp_path / "model").bits_per_byte(Documents(texts[:3])) == pytest.approx(bits)
    other = TitansLM(**SMALL).fit(Documents(pd.Series(texts)))
    assert other.vocabulary_.size == Bytes().size


def test_documents_are_held_back_by_their_length_and_a_seed():
    texts = [chr(97 + i) * (i + 1) for i in range(20)]
    first, second = Documents(texts).split(0.2, seed=1)
    assert sorted([*first.texts, *second.texts], key=len) == texts
    assert 0.2 * 210 <= sum(map(len, second.texts)) < 0.2 * 210 + 20
    assert Documents(texts).split(0.2, seed=1)[1].texts == second.texts
    assert Documents(texts).split(0.2, seed=2)[1].texts != second.texts
    assert [len(part) for part in Documents(["a", "b"]).split(0.99, 0)] == [1, 1]
    with pytest.raises(DataError, match="there is 1 document"):
        Documents(["a"]).split(0.1, 0)


def test_documents_from_files(tmp_path):
    rows = [{"text": "one", "n": 1}, {"text": "zwei ü", "n": 2}]
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps(row) for row in rows) + "\n\n", encoding="utf-8")
    assert Documents.read(tmp_path / "a.jsonl").texts == ("one", "zwei ü")
    folder = tmp_path / "folder"
    folder.mkdir()
    for name, text in (("2.txt", "two"), ("1.txt", "one"), ("3.txt", ""), ("4.csv", "no")):
        (folder / name).write_text(text, encoding="utf-8")
    assert Documents.read(folder).texts == ("one", "two")
    assert [Documents.are_at(p) for p in (tmp_path / "a.jsonl", folder, folder / "1.txt")] == [True, True, False]
    assert repr(Documents(["ab", "c"])) == "Documents(2 texts, 3 characters)"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"text": "a"}\n{"text": ', "line 2: no JSON"),
        ('{"body": "a", "n": 1}', "line 1: no text 'text', but body"),
        ('["text"]', "line 1: no text 'text'"),
        ('{"text": 5}', "line 1: no text 'text'"),
        ("[" * 100_000, "line 1: no JSON"),
        ('{"text": ""}', "no document that is not empty"),
        ("", "is empty"),
    ],
)
def test_wrong_lines_are_named(content, message, tmp_path):
    (tmp_path / "a.jsonl").write_text(content)
    with pytest.raises(DataError, match=message):
        Documents.read(tmp_path / "a.jsonl")


def test_wrong_documents_are_refused(tmp_path):
    for wrong, message in (
        ("text", "must be a list of str, not str"),
        (5, "must be a list of str, not int"),
        (["a", None], "document 2 must be a str, not NoneType"),
        ([b"a"], "document 1 must be a str, not bytes"),
        (np.array([]), "no document"),
    ):
        with pytest.raises(DataError, match=message):
            Documents(wrong)
    with pytest.warns(TitansSeqWarning, match="1 of 3 documents are empty and left out"):
        assert Documents(["a", "", "b"]).texts == ("a", "b")
    with pytest.raises(DataError, match=r"holds no file \*.txt"):
        Documents.read(tmp_path)
    with pytest.raises(DataError, match="a text must be a str"):
        TitansLM(**SMALL).fit("abc " * 100).surprise(Documents(["a"]))
    with pytest.raises(DataError, match="carry"):
        TitansLM(**SMALL, carry=True).fit(Documents(["abc " * 100] * 3))


@pytest.mark.slow
def test_the_command_reads_documents(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    lines = [json.dumps({"body": f"number {i} is {'even' if i % 2 == 0 else 'odd'}."}) for i in range(60)]
    (tmp_path / "corpus.jsonl").write_text("\n".join(lines))
    sizes = [f"{name}={value}" for name, value in SMALL.items()]
    command = ["lm", "--data", "corpus.jsonl", "--set", *sizes, "--output", "out", "--sample", "20", "--json"]
    assert execute([*command, "--tracking-uri", "off"]) == 2
    assert "no text 'text', but body" in capsys.readouterr().err
    assert execute([*command, "--field", "body", "--tracking-uri", "off"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert 0 < result["models"]["titans"]["bits_per_byte"] < 9
    assert (tmp_path / "out" / "sample.txt").exists()
