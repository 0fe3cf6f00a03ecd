"""Effects of variants: planted ones are found, VCF stays VCF, and what does not fit the genome is told."""

import gzip
import time

import numpy as np
import pandas as pd
import pysam
import pytest

from tests.domains.genomics.conftest import MOTIF
from titans_seq.cli import execute
from titans_seq.domains.genomics.vcf import open_vcf

HEADER = """##fileformat=VCFv4.2
##contig=<ID=one,length=600>
##INFO=<ID=AF,Number=A,Type=Float,Description="frequency">
##INFO=<ID=DB,Number=0,Type=Flag,Description="known">
##FORMAT=<ID=GT,Number=1,Type=String,Description="genotype">
#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tme
"""
rng = np.random.default_rng(1)
LETTERS = list(rng.choice(list("ACGT"), 600))
LETTERS[300:310] = list(MOTIF)
TEXT = "".join(LETTERS)
OTHER = {"A": "C", "C": "A", "G": "T", "T": "G"}


def line(position, ref, alt, info=".", name="one"):
    return f"{name}\t{position}\tv{position}\t{ref}\t{alt}\t30\tPASS\t{info}\tGT\t0/1\n"


def snv(position):
    ref = TEXT[position - 1]
    return line(position, ref, OTHER[ref], "AF=0.5;DB")


VARIANTS = (
    "".join(snv(p) for p in (1, 120, 304, 306, 600))
    + line(303, TEXT[302:308], TEXT[302])  # most of the motif is gone
    + line(200, TEXT[199], f"{TEXT[199]}{MOTIF},<DEL>,*,{OTHER[TEXT[199]]}")  # a second motif
)


@pytest.fixture
def place(tmp_path, monkeypatch, fitted, stranded):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "g.fa").write_text(f">one\n{TEXT}\n>chr2\n{'ACGT' * 50}\n")
    (tmp_path / "a.vcf").write_text(HEADER + VARIANTS)
    fitted.save(tmp_path / "model")
    stranded.save(tmp_path / "stranded")
    return tmp_path


def command(out="out.vcf", model="model", **more):
    options = {"model": model, "genome": "g.fa", "vcf": "a.vcf", "out": out, "label": "motif", "window": "60"} | more
    return ["variants", *(w for name, value in options.items() for w in (f"--{name}", value))]


def test_what_breaks_a_motif_counts(place, capsys):
    assert execute(command("out.tsv")) == 0
    assert "8 of 10 alleles of 7 variants" in capsys.readouterr().out
    found = pd.read_csv("out.tsv", sep="\t", keep_default_na=False)
    assert found["alt"].tolist()[6:] == [TEXT[199] + MOTIF, "<DEL>", "*", OTHER[TEXT[199]]]
    effects = pd.to_numeric(found["effect"], errors="coerce")
    within, outside = effects[[2, 3, 5]], effects[[0, 1, 4, 9]]
    assert within.max() < min(-0.3, outside.min())
    assert effects[6] > 1
    assert found["note"].tolist() == [""] * 7 + ["not scored"] * 2 + [""]


def test_vcf_stays_vcf(place):
    """Read by pysam; what was there is there still, and scores are those of the classifier."""
    assert execute(command("out.vcf.gz", "stranded")) == 0
    assert execute(command("again.vcf", "stranded", vcf="out.vcf.gz")) == 0  # its own keys are replaced
    assert gzip.decompress((place / "out.vcf.gz").read_bytes()) == (place / "again.vcf").read_bytes()
    with pysam.VariantFile("again.vcf") as file:
        records = list(file)
        assert file.header.info["TITANS_EFFECT"].number == "A"
        assert list(file.header.samples) == ["me"]
    assert [r.pos for r in records] == [1, 120, 304, 306, 600, 303, 200]
    assert records[0].info["AF"] == (0.5,)
    assert records[0].info["DB"]
    assert records[6].info["TITANS_EFFECT"][1] is None
    from titans_seq import TitansDNAClassifier

    model = TitansDNAClassifier.load(place / "stranded")
    left = TEXT[304 - 1 - 29 : 303]
    ref, alt = (left + a + TEXT[304 : 304 + 30] for a in (TEXT[303], OTHER[TEXT[303]]))
    sign = 1 if model.classes_[1] == "motif" else -1
    for key, flip in (("TITANS_EFFECT", False), ("TITANS_EFFECT_REVERSE", True)):
        both = [s[::-1].translate(str.maketrans("ACGT", "TGCA")) if flip else s for s in (ref, alt)]
        before, after = sign * model.decision_function(both)
        assert records[2].info[key][0] == pytest.approx(after - before, abs=1e-3)
        assert records[2].info["TITANS_PROBABILITY"][1] != records[2].info["TITANS_PROBABILITY"][0]


def refused(capsys, arguments, message):
    assert execute(arguments) == 2
    (error,) = [w for w in capsys.readouterr().err.splitlines() if w.startswith("error: ")]
    assert message in error


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        (VARIANTS, "is no VCF: it does not begin with ##fileformat"),
        (HEADER.replace("#CHROM", "##x\n#X"), "has no line #CHROM"),
        (HEADER.rsplit("#CHROM", 1)[0] + VARIANTS, "row 6: the line #CHROM POS ID ... is missing"),
        (HEADER + "one 1 . A C . . .\n", "row 7: VCF has at least 8 columns with tabs between them; this line has 1"),
        (HEADER + line(0, "A", "C"), "a.vcf, row 7: one:0 lies outside"),
        (HEADER + line("x", "A", "C"), "row 7: POS must be a whole number, not 'x'"),
        (HEADER + line(1, "<A>", "C"), "row 7: REF must be letters of DNA"),
        (HEADER + snv(1) + line(601, "A", "C"), "row 8: one:601 lies outside the contig, which has 600 letters"),
        (HEADER + line(1, "A", "C", name="7"), "has no contig '7'; it has one, chr2"),
        (HEADER + snv(5) + line(1, OTHER[TEXT[0]], "C"), "1 of 2 variants is not what the genome has, more than 5 %"),
    ],
)
def test_wrong_vcf(place, capsys, text, message):
    (place / "a.vcf").write_text(text)
    refused(capsys, command(), message)
    assert not (place / "out.vcf").exists()


def test_few_mismatches_are_counted_and_names_without_chr_are_known(place, capsys):
    text = (
        HEADER + "".join(snv(p) for p in range(2, 42)) + line(1, OTHER[TEXT[0]], TEXT[0]) + line(3, "G", "C", name="2")
    )
    (place / "a.vcf").write_text(text)
    assert execute(command("out.csv")) == 0
    shown = capsys.readouterr()
    assert "1 variants with another reference" in shown.out
    assert shown.err.count("calls '2' what") == 1
    found = pd.read_csv("out.csv")
    assert found["note"].tolist()[40] == "reference mismatch"
    assert found["effect"].notna().sum() == 41


def test_wrong_options(place, capsys):
    refused(capsys, [w for w in command() if w not in ("--label", "motif")], "--label must name the class")
    refused(capsys, command(label="x"), "there is no class 'x'; the model has motif, none")
    refused(capsys, command("out.txt"), "the suffix tells the format")
    refused(capsys, command("a.vcf"), "is the file that is read")
    refused(capsys, command(model="g.fa"), "g.fa")
    refused(capsys, command(genome="model"), "is a folder, a FASTA file is needed")
    refused(capsys, command(window="1"), "window must lie from 2")


def test_lines_are_kept_as_they_are(tmp_path):
    (tmp_path / "a.vcf").write_text(HEADER + snv(7) + line(9, "A", "C"))
    with open_vcf(tmp_path / "a.vcf") as file:
        first, second = file
    assert first.with_info({}) == snv(7)
    assert first.with_info({"AF": "1"}).split("\t")[7] == "DB;AF=1"
    assert second.with_info({"X": "1"}).split("\t")[7] == "X=1"


@pytest.mark.slow
def test_a_thousand_variants_a_minute(place):
    """With the default network; the goal is 1,000 a minute."""
    from titans_seq import TitansDNAClassifier

    sequences = ["".join(rng.choice(list("ACGT"), 300)) for _ in range(24)]
    TitansDNAClassifier(max_epochs=1).fit(sequences, ["motif", "none"] * 12).save(place / "default")
    (place / "a.vcf").write_text(HEADER + "".join(snv(p) for _ in range(5) for p in range(2, 302)))
    began = time.perf_counter()
    assert execute(command("many.vcf", "default", window="300")) == 0
    assert time.perf_counter() - began < 90
