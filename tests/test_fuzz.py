"""Every reader of files on damaged ones: a DataError of one line, or what was read; nothing else, in bounded time.

`tests/corpus` holds a sound file for each; what once broke a reader is added to it, named `broken-...`.
"""

import os
import tempfile
import warnings
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from titans_seq.domains.genomics.cuts import Cuts
from titans_seq.domains.genomics.labelled import read_labelled
from titans_seq.domains.genomics.records import read_sequences
from titans_seq.domains.genomics.regions import read_bed
from titans_seq.domains.genomics.vcf import open_vcf
from titans_seq.domains.language.text import read_text
from titans_seq.domains.timeseries.panel import to_panel
from titans_seq.domains.timeseries.table import read_table
from titans_seq.errors import TitansSeqError

EXAMPLES = int(os.environ.get("TITANS_SEQ_FUZZ", "600"))
"""Damaged files for each sound one; a minute for all."""
CORPUS = sorted((Path(__file__).parent / "corpus").iterdir())
GENOME = Path(tempfile.mkdtemp()) / "genome.fa"
GENOME.write_text(f">chr1\n{'ACGTTGCA' * 50}\n>chr2\n{'GATTACA' * 60}\n")
"""What regions and features are cut from."""


def read_variants(path):
    """Read a VCF file as `titans-seq variants` does, and write each line again."""
    with open_vcf(path) as file:
        return [file.header_with({"X": "Number=1"}), *(variant.with_info({"X": "1"}) for variant in file)]


READERS = {
    ".csv": [lambda path: to_panel(read_table(path)), read_sequences, read_labelled, read_text],
    ".tsv": [lambda path: to_panel(read_table(path)), read_sequences],
    ".gz": [lambda path: to_panel(read_table(path)), read_sequences],
    ".parquet": [lambda path: to_panel(read_table(path))],
    ".fasta": [read_sequences],
    ".gb": [read_sequences, read_labelled],
    ".txt": [read_text],
    ".bed": [read_bed, lambda path: read_labelled(path, Cuts(genome=GENOME))],
    ".gff3": [lambda path: read_labelled(path, Cuts(genome=GENOME, window=30, stride=30))],
    ".vcf": [read_variants],
}
"""Suffix -> what reads such files."""
TOKENS = [
    b"", b"\0", b"\xff", b"\xfe\xff", b"\n", b"\r", b'"', b",", b";", b"\t", b">", b"NaN", b"1e999", b"-", b"9" * 30,
    b"2024-13-45", b"\xef\xbb\xbf", b"LOCUS", b"//\n", b"ORIGIN", b"join(1..", b"<", b"\x1f\x8b", b"PAR1", b"A" * 3000,
]  # fmt: skip
"""What parsers stumble over."""
EDITS = st.lists(
    st.tuples(st.floats(0, 1), st.integers(0, 40), st.sampled_from(TOKENS) | st.binary(max_size=12)), max_size=6
)
"""Place (a share of the file), bytes that go, bytes that come."""


def damaged(content: bytes, edits) -> bytes:
    """A file with some edits."""
    for place, gone, new in edits:
        start = int(place * len(content))
        content = content[:start] + new + content[start + gone :]
    return content


def read_all(path):
    """Let every reader of such files read it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for reader in READERS[path.suffix]:
            try:
                reader(path)
            except TitansSeqError as error:
                assert "\n" not in str(error)  # noqa: PT017
                assert len(str(error)) < 1000  # noqa: PT017


@pytest.mark.parametrize("source", CORPUS, ids=lambda path: path.name)
@settings(max_examples=EXAMPLES, deadline=5000, suppress_health_check=list(HealthCheck))
@given(edits=EDITS)
def test_damaged_files(source, tmp_path_factory, edits):
    path = tmp_path_factory.getbasetemp() / f"fuzz-{source.name}"
    path.write_bytes(damaged(source.read_bytes(), edits))
    read_all(path)


@pytest.mark.parametrize("source", [path for path in CORPUS if not path.name.startswith("broken-")], ids=str)
def test_sound_files_are_read(source):
    """By one reader at the least; else nothing would be tested above."""
    read = []
    for reader in READERS[source.suffix]:
        try:
            read.append(reader(source))
        except TitansSeqError:
            continue
    assert read
