"""Scans as people run them: killed, in shares, merged, by several processes, and read by the field's own parsers."""

import signal
import subprocess
import sys
import time
from contextlib import suppress
from itertools import pairwise

import numpy as np
import pybedtools
import pytest

from titans_seq.cli import execute
from titans_seq.domains.genomics.scan import merge_hits
from titans_seq.domains.genomics.stream import share_records
from titans_seq.domains.genomics.tracks import Hit
from titans_seq.errors import DataError
from titans_seq.journal import Journal

SIZES = {"one": 3000, "two": 700, "three": 5200, "four": 40}


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    records = {name: "".join(rng.choice(list("ACGT"), size)) for name, size in SIZES.items()}
    (tmp_path / "g.fa").write_text("".join(f">{name}\n{letters}\n" for name, letters in records.items()))
    return tmp_path


def command(saved, out, *options):
    return ["scan", "--model", str(saved), "--genome", "g.fa", "--out", out, "--label", "motif", "--window", "60",
            "--stride", "20", "--threshold", "0.45", *options]  # fmt: skip


@pytest.mark.parametrize("kind", ["bed", "gff3", "bedgraph"])
def test_shares_one_behind_the_other_are_the_whole(place, saved, kind, capsys):
    assert execute(command(saved, f"all.{kind}")) == 0
    for share in (1, 2, 3):
        assert execute(command(saved, f"{share}.{kind}", "--shard", f"{share}/3")) == 0
    joined = b"".join((place / f"{share}.{kind}").read_bytes() for share in (1, 2, 3))
    assert joined == (place / f"all.{kind}").read_bytes()
    assert joined.count(b"\n") > 40
    assert sorted(p.name for p in place.iterdir() if p.name.startswith(".")) == []


def test_shares_hold_every_record_once_in_order():
    lengths = {"a": 10, "b": 1000, "c": 3, "d": 500, "e": 500}
    for parts in range(1, 8):
        shares = [share_records(lengths, part, parts) for part in range(1, parts + 1)]
        assert [name for share in shares for name in share] == list(lengths)


@pytest.mark.parametrize("options", [(), ("--merge",)])
def test_bedtools_reads_what_is_written(place, saved, options):
    assert execute(command(saved, "a.bed", *options)) == 0
    assert execute(command(saved, "a.gff3", *options)) == 0
    found = list(pybedtools.BedTool("a.bed"))
    assert len(found) > 20
    assert {i.strand for i in found} == {"+", "-"}
    assert all(i.name == "motif" and 450 <= int(i.score) <= 1000 and i.end <= SIZES[i.chrom] for i in found)
    places = [(list(SIZES).index(i.chrom), i.start) for i in found]
    assert places == sorted(places)
    features = list(pybedtools.BedTool("a.gff3"))
    assert [(i.chrom, i.start, i.end, i.strand) for i in features] == [
        (i.chrom, i.start, i.end, i.strand) for i in found
    ]
    assert len({i.attrs["ID"] for i in features}) == len(features)
    if options:
        for strand in "+-":
            own = [i for i in found if i.strand == strand]
            assert all(a.chrom != b.chrom or a.end < b.start for a, b in pairwise(own))


def test_bigwig_has_the_profile(place, saved):
    pyBigWig = pytest.importorskip("pyBigWig")
    assert execute(command(saved, "a.bw")) == 0
    assert execute(command(saved, "a.bedgraph")) == 0
    with pyBigWig.open("a.bw") as file:
        assert file.chroms() == SIZES
        for row in (place / "a.bedgraph").read_text().splitlines()[1:]:
            name, start, end, value = row.split("\t")
            assert file.stats(name, int(start), int(end))[0] == pytest.approx(float(value), abs=1e-3)


def test_merged_hits():
    def hit(start, end, strand, probability=0.5, name="a"):
        return Hit(name, start, end, probability, strand)

    hits = [hit(0, 10, "+"), hit(0, 10, "-"), hit(5, 15, "+", 0.9), hit(15, 20, "+"), hit(21, 30, "-"),
            hit(40, 50, "+"), hit(41, 60, "+"), hit(0, 5, "-", name="b")]  # fmt: skip
    assert list(merge_hits(hits)) == [hit(0, 20, "+", 0.9), hit(0, 10, "-"), hit(21, 30, "-"), hit(40, 60, "+"),
                                      hit(0, 5, "-", name="b")]  # fmt: skip
    rng = np.random.default_rng(0)
    for _ in range(50):
        starts = np.sort(rng.integers(0, 300, 40))
        hits = [hit(int(s), int(s + rng.integers(1, 30)), "+-"[rng.integers(2)]) for s in starts]
        merged = list(merge_hits(hits))
        assert [h.start for h in merged] == sorted(h.start for h in merged)
        for strand in "+-":
            covered = {x for h in hits if h.strand == strand for x in range(h.start, h.end)}
            assert covered == {x for h in merged if h.strand == strand for x in range(h.start, h.end)}


@pytest.mark.slow
def test_a_killed_scan_goes_on_where_it_was(place, saved, capsys):
    rng = np.random.default_rng(1)
    letters = "".join(rng.choice(list("ACGT"), 1_500_000))
    (place / "g.fa").write_text(f">one\n{letters}\n")
    code = "import sys; from titans_seq.cli import main; main(sys.argv[1:])"
    process = subprocess.Popen([sys.executable, "-c", code, *command(saved, "a.bed")])
    journal = place / ".a.bed.scores"
    try:
        until = time.monotonic() + 120
        while not (journal.exists() and journal.stat().st_size > 200_000):
            assert time.monotonic() < until
            assert process.poll() is None
            time.sleep(0.02)
        refused = execute(command(saved, "a.bed"))
        assert "another process is at the same work" in capsys.readouterr().err
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        process.wait()
    assert refused == 2
    assert not (place / "a.bed").exists()
    with journal.open("ab") as file:
        file.write(b"torn")
    assert execute(command(saved, "a.bed")) == 0
    assert "going on behind" in capsys.readouterr().err
    assert execute(command(saved, "b.bed")) == 0
    assert (place / "a.bed").read_bytes() == (place / "b.bed").read_bytes()
    assert {p.name for p in place.iterdir()} == {"g.fa", "a.bed", "b.bed"}


def test_a_journal_keeps_what_is_whole(tmp_path):
    path = tmp_path / "j"
    with suppress(KeyboardInterrupt), Journal(path, 1) as journal:
        journal.append(b"one")
        journal.append(b"two")
        raise KeyboardInterrupt
    content = path.read_bytes()
    for cut in (len(content) - 1, len(content) - 5):
        path.write_bytes(content[:cut] + b"x" * 7)
        with suppress(KeyboardInterrupt), Journal(path, 1) as journal:
            assert (journal.kept, list(journal.restore())) == (1, [b"one"])
            journal.append(b"three")
            raise KeyboardInterrupt
        with suppress(KeyboardInterrupt), Journal(path, 1) as journal:
            assert list(journal.restore()) == [b"one", b"three"]
            raise KeyboardInterrupt
    with Journal(path, 2) as journal:
        assert journal.kept == 0
    assert list(tmp_path.iterdir()) == []
    path.write_bytes(content)
    with pytest.raises(DataError), Journal(path, 1):
        raise DataError("x")
    assert list(tmp_path.iterdir()) == []
