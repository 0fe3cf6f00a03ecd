"""Public DNA by name, see `titans_seq.datasets`."""

from titans_seq.datasets import Dataset, File

BIOPYTHON = "https://raw.githubusercontent.com/biopython/biopython/01f837c36f0b2e30a4ca8c039b4c85918b7315f8/"
BOWTIE2 = "https://raw.githubusercontent.com/BenLangmead/bowtie2/master/"


def _splits(folder: str, train: str, dev: str, test: str) -> tuple[File, ...]:
    return tuple(
        File(f"genomics/{folder}/{part}.csv", sha256)
        for part, sha256 in (("train", train), ("dev", dev), ("test", test))
    )


DATASETS: dict[str, Dataset] = {
    "gue-promoter-300-tata": Dataset(
        files=_splits(
            "gue_prom_300_tata",
            "d0dd45bad89aee2564b8831d38a393989942d79b673203e7eb50e19ec8e6242e",
            "4de0f8163d964e4004f0a11036d9a9c5ec6fe2ad5953f962acf66150a2f44592",
            "30432e9845277559043c2bb3bfed37b9bc7efc15748880f3adeeaddc16b76deb",
        ),
        licence="Apache-2.0",
    ),
    "gue-core-promoter-all": Dataset(
        files=_splits(
            "gue_prom_core_all",
            "a36e0bbf2b59e01479bb904534d310041b493fec9221ccd74b518893d74054ed",
            "98dd5d2b5df3c93cad9fa0a4a36078d28fa95b7bf9ab73fb2e5ba1fa74877f2b",
            "b1babbb52abd0fb5328eccc4ce8ab60d0a58d28bdc88c30f8e2140cf1684ce0c",
        ),
        licence="Apache-2.0",
    ),
    "human-enhancers-cohn-test": Dataset(
        files=(
            File(
                "genomics/human_enhancers_cohn_test.tsv",
                "285b359415300d55b929cb67c861169f5227a40a76a1e98cd14c8a2753d12e1a",
            ),
        ),
        licence="Apache-2.0",
    ),
    "lambda-phage": Dataset(
        files=(
            File(
                "genomics/lambda_virus.fa",
                "0a04f81952deb68c204e8ae67e0573cb97d348f18ab1b527630d57c294028cf5",
                BOWTIE2 + "example/reference/lambda_virus.fa",
            ),
        ),
        licence="public sequence",
    ),
    "arabidopsis-chloroplast": Dataset(
        files=(
            File(
                "genomics/NC_000932.gb",
                "a8b5d8239001f56a5b8b3ff047b10338b839329cf594aad36bfa4755a0dfb480",
                BIOPYTHON + "Tests/GenBank/NC_000932.gb",
            ),
        ),
        licence="public sequence",
    ),
}


def load_chloroplast(window: int = 300, stride: int = 300) -> tuple[list[str], list[str]]:
    """Return the embedded data: windows of the chloroplast genome of *Arabidopsis thaliana*, and what they are.

    Args:
        window: letters of a window.
        stride: letters from one window to the next.

    Returns:
        sequences, and for each "CDS" (coding) or "no CDS". Source: NC_000932, public sequence.
    """
    from titans_seq.domains.genomics.cuts import Cuts
    from titans_seq.domains.genomics.labelled import read_labelled
    from titans_seq.domains.genomics.splits import EMBEDDED

    records = read_labelled(EMBEDDED, Cuts(window=window, stride=stride))
    return list(records.sequences), list(records.labels)
