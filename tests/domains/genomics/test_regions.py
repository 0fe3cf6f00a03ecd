"""Regions of a genome: BED and GFF3 beside FASTA, negatives that match, and what is refused in one line."""

import gzip
import warnings

import numpy as np
import pytest
from Bio.bgzf import BgzfWriter

from titans_seq.domains.genomics.alphabet import decode
from titans_seq.domains.genomics.annotations import read_genbank, read_gff3
from titans_seq.domains.genomics.cuts import Cuts
from titans_seq.domains.genomics.genome import Genome
from titans_seq.domains.genomics.labelled import read_labelled
from titans_seq.domains.genomics.regions import Covered, Region, draw_negatives, gc_share
from titans_seq.domains.genomics.splits import EMBEDDED, load_splits
from titans_seq.errors import DataError, TitansSeqWarning

rng = np.random.default_rng(0)
CONTIGS = {name: "".join(rng.choice(list("ACGT"), 4000)) for name in ("chr1", "chr2", "chrM")}


@pytest.fixture
def fasta(tmp_path):
    path = tmp_path / "genome.fa"
    path.write_text("".join(f">{n} a contig\n" + "\n".join(s[i : i + 60] for i in range(0, len(s), 60)) + "\n"
                            for n, s in CONTIGS.items()))  # fmt: skip
    return path


def bed(tmp_path, text, name="peaks.bed"):
    path = tmp_path / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith("gz") else text.encode())
    return path


def peaks(count=40, size=100, names=("chr1", "chr2")):
    return "".join(f"{names[i % len(names)]}\t{10 + 90 * i}\t{10 + 90 * i + size}\tp{i}\t0\t{'+-'[i % 2]}\n"
                   for i in range(count))  # fmt: skip


def test_a_genome_is_read_at_any_place(fasta, tmp_path):
    with BgzfWriter(tmp_path / "genome.fa.bgz") as file:
        file.write(fasta.read_bytes())
    for path in (fasta, tmp_path / "genome.fa.bgz"):
        with Genome(path) as genome:
            assert genome.lengths == dict.fromkeys(CONTIGS, 4000)
            assert decode(genome.fetch("chr2", 37, 1200)) == CONTIGS["chr2"][37:1200]
            assert decode(genome.fetch("chr1", -3, 2)) == "NNN" + CONTIGS["chr1"][:2]
            assert decode(genome.fetch("chr1", 3998, 4001)) == CONTIGS["chr1"][-2:] + "N"
            assert decode(genome.fetch("chr1", 5000, 5002)) == "NN"
            assert [genome.find(n) for n in ("1", "chr1", "MT", "chrMT", "3")] == ["chr1", "chr1", "chrM", "chrM", None]


def test_an_index_where_nothing_can_be_written_passes(fasta, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("titans_seq.domains.genomics.genome.tempfile.TemporaryFile", refuse)
    with Genome(fasta) as genome:
        assert decode(genome.fetch("chr1", 0, 5)) == CONTIGS["chr1"][:5]
    assert not fasta.with_name("genome.fa.fai").exists()


def test_regions_are_read_on_their_strand_beside_negatives(fasta, tmp_path):
    found = read_labelled(bed(tmp_path, "track name=x\n# c\n" + peaks(), "peaks.bed.gz"), Cuts(genome=fasta))
    assert found.labels == ["peaks"] * 40 + ["no peaks"] * 40
    assert found.sequences[0] == CONTIGS["chr1"][10:110]
    complement = CONTIGS["chr2"][100:200][::-1].translate(str.maketrans("ACGT", "TGCA"))
    assert found.sequences[1] == complement
    assert found.names[:2] == ["chr1:11-110(+)", "chr2:101-200(-)"]
    assert found.contigs[:2] == ["chr1", "chr2"]
    shares = [(s.count("G") + s.count("C")) / len(s) for s in found.sequences]
    assert abs(np.mean(shares[:40]) - np.mean(shares[40:])) < 0.02
    again = read_labelled(bed(tmp_path, peaks()), Cuts(genome=fasta))
    assert again.sequences == found.sequences


def test_negatives_overlap_with_nothing_and_match(fasta):
    regions = [Region(n, s, s + 60) for n in ("chr1", "chr2") for s in range(0, 3000, 150)]
    with Genome(fasta) as genome:
        drawn = draw_negatives(regions, genome, 1.5, seed=1)
        differences = [abs(gc_share(r.codes(genome)) - gc_share(d.codes(genome)))
                       for r, d in zip(regions, drawn, strict=False)]  # fmt: skip
        assert len(drawn) == 60
        covered = Covered(regions)
        assert not any(covered.overlaps(d.name, d.start, d.end) for d in drawn)
        assert all(d.start >= 0 and d.end <= 4000 for d in drawn)
        assert len(differences) == 40
        with pytest.raises(DataError, match="no room for negatives of 4000 letters"):
            draw_negatives([Region("chr1", 0, 4000)], genome, 1, 0)


def test_windows_around_the_middle_and_classes_of_column_4(fasta, tmp_path):
    text = "chr1\t100\t110\ta\nchr1\t1000\t1031\tb\nchr1\t5\t15\ta\n"
    with pytest.warns(TitansSeqWarning, match="1 of 3 windows reach beyond"):
        found = read_labelled(bed(tmp_path, text), Cuts(genome=fasta, window=50, negatives=0))
    assert (found.labels, [len(s) for s in found.sequences]) == (["a", "b"], [50, 50])
    assert found.sequences[0] == CONTIGS["chr1"][80:130]


def test_contigs_are_held_back(fasta, tmp_path):
    path = bed(tmp_path, peaks(40, names=("chr1", "chr2", "chrM")))
    splits = load_splits(path, 0, 0.2, Cuts(genome=fasta), ["chrM"])
    assert {n.split(":")[0] for n in splits.test.names} == {"chrM"}
    assert {n.split(":")[0] for n in splits.train.names + splits.dev.names} == {"chr1", "chr2"}
    with pytest.raises(DataError, match="nothing on the contigs chr9 that should be test; it has chr1, chr2, chrM"):
        load_splits(path, 0, 0.2, Cuts(genome=fasta), ["chr9"])


def test_a_file_that_counts_from_1_is_told(fasta, tmp_path):
    with pytest.warns(TitansSeqWarning, match="looks as if it counted from 1"):
        read_labelled(bed(tmp_path, peaks(size=99)), Cuts(genome=fasta))
    touching = "".join(f"chr1\t{1 + 77 * i}\t{77 * (i + 1)}\tx{i % 2}\n" for i in range(40))
    with pytest.warns(TitansSeqWarning, match="looks as if it counted from 1"):
        read_labelled(bed(tmp_path, touching), Cuts(genome=fasta, negatives=0))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_labelled(bed(tmp_path, peaks()), Cuts(genome=fasta))


def test_names_with_and_without_chr_are_the_same(fasta, tmp_path):
    with pytest.warns(TitansSeqWarning, match="calls '1' what .*genome.fa calls 'chr1'"):
        found = read_labelled(bed(tmp_path, peaks().replace("chr", "")), Cuts(genome=fasta))
    assert found.sequences[0] == CONTIGS["chr1"][10:110]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no regions"),
        ("chr1\t1\n", r"row 1: BED has at least 3 columns, .* this line has 2"),
        ("# x\nchr1\t1\t9\nchr1\tx\t9\n", "row 3: start and end must be whole numbers, not 'x'"),
        ("chr1\t-1\t9\n", "must be whole numbers"),
        ("chr1\t9\t1\n", r"row 1: the region ends \(1\) before it starts \(9\)"),
        ("chr1\t9\t9\n", "row 1: the region has no letters: BED counts from 0"),
        ("chr1\t1\t9\nchr1\t3990\t4001\n", "row 2: chr1:3991-4001 lies outside the contig, which has 4,000 letters"),
        (
            "chr8\t1\t9\nchr9\t1\t9\nchr1\t1\t9\n",
            "2 of 3 contigs .* has not: chr8, chr9; the genome has chr1, chr2, chrM",
        ),
    ],
)
def test_wrong_bed(fasta, tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        read_labelled(bed(tmp_path, text), Cuts(genome=fasta))


def test_wrong_genomes(fasta, tmp_path):
    path = bed(tmp_path, peaks())
    with pytest.raises(DataError, match="needs the genome that it describes"):
        read_labelled(path)
    with pytest.raises(DataError, match="is a folder"):
        read_labelled(path, Cuts(genome=tmp_path))
    with pytest.raises(DataError, match="no such file"):
        read_labelled(path, Cuts(genome=tmp_path / "x.fa"))
    with pytest.raises(DataError, match="is no FASTA: it begins with 'c'"):
        read_labelled(path, Cuts(genome=path))
    (tmp_path / "plain.fa.gz").write_bytes(gzip.compress(fasta.read_bytes()))
    with pytest.raises(DataError, match="compress it by bgzip"):
        read_labelled(path, Cuts(genome=tmp_path / "plain.fa.gz"))
    fasta.with_name("genome.fa.fai").write_text("nonsense\n")
    with pytest.raises(DataError, match=r"cannot read .*fai is damaged, remove that"):
        read_labelled(path, Cuts(genome=fasta))
    fasta.with_name("genome.fa.fai").unlink()
    with pytest.raises(DataError, match="a genome is for BED and GFF3"):
        read_labelled(EMBEDDED, Cuts(genome=fasta))
    with pytest.raises(DataError, match="column 4 must name the class"):
        read_labelled(bed(tmp_path, "chr1\t1\t9\n"), Cuts(genome=fasta, negatives=0))


GFF = "##gff-version 3\n{}\n###\n"
LINE = "chr1\tme\tCDS\t{}\t{}\t.\t{}\t{}\tID=a"


def test_gff3_has_the_windows_and_frames_of_genbank(tmp_path):
    """The embedded chloroplast, its features written as GFF3 beside its letters."""
    (contig,) = read_genbank(EMBEDDED)
    (tmp_path / "c.fa").write_text(f">{contig.name}\n{decode(contig.fetch(0, contig.length))}\n")
    lines = [f"{contig.name}\tx\t{f.kind}\t{f.start + 1}\t{f.end}\t.\t{f.strand}\t{f.phase}\tID={i}"
             for i, f in enumerate(contig.features)]  # fmt: skip
    path = bed(tmp_path, GFF.format("\n".join(lines)), "c.gff3.gz")
    ours, known = read_labelled(path, Cuts(genome=tmp_path / "c.fa")), read_labelled(EMBEDDED)
    assert (ours.sequences, ours.labels, ours.names) == (known.sequences, known.labels, known.names)
    with Genome(tmp_path / "c.fa") as genome:
        (other,) = read_gff3(path, genome)
        np.testing.assert_array_equal(other.frames("CDS"), contig.frames("CDS"))


def test_frames_spell_proteins():
    """Letters of places 1, 2, 3 make codons that have no stop but at the end."""
    (contig,) = read_genbank(EMBEDDED)
    codes, frames = contig.fetch(0, contig.length), contig.frames("CDS")
    text = decode(codes)
    stops = {"TAA", "TAG", "TGA"}
    starts = np.flatnonzero((frames[:-2] == 1) & (frames[1:-1] == 2) & (frames[2:] == 3))
    share = np.mean([text[i : i + 3] in stops for i in starts])
    assert len(starts) > 5000
    assert share < 0.005


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no features"),
        (LINE.format(1, 2, "+", 0).replace("\t", " "), "row 2: GFF3 has 9 columns with tabs"),
        (LINE.format(0, 5, "+", 0), "row 2: start and end must be whole numbers from 1, not '0'"),
        (LINE.format(9, 5, "+", 0), "row 2: start and end"),
        (LINE.format(1, 4001, "+", 0), "row 2: chr1:1-4001 lies outside the contig"),
        (LINE.format(1, 5, "+", 0).replace("chr1", "chr7"), "1 of 1 contigs .* has not: chr7"),
        (LINE.format(1, 5, "+", 0).replace("CDS", "exon"), "has no feature 'CDS'; it has exon"),
    ],
)
def test_wrong_gff3(fasta, tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        read_labelled(bed(tmp_path, GFF.format(text), "a.gff3"), Cuts(genome=fasta))


def test_features_of_one_strand_are_told(fasta, tmp_path):
    lines = "\n".join(LINE.format(1 + 600 * i, 600 * i + 400, "+", 0) for i in range(6))
    with pytest.warns(TitansSeqWarning, match=r"lies on strand \+"):
        read_labelled(bed(tmp_path, GFF.format(lines), "a.gff3"), Cuts(genome=fasta))
