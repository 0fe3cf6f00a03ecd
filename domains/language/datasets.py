"""Public texts by name, see `titans_seq.datasets`."""

from titans_seq.datasets import Dataset, File

SHAKESPEARE = "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt"


def _one(path: str, sha256: str, licence: str, url: str | None = None) -> Dataset:
    return Dataset(files=(File(f"language/{path}", sha256, url),), licence=licence)


DATASETS: dict[str, Dataset] = {
    "tinyshakespeare": _one(
        "tinyshakespeare.txt",
        "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
        "public domain",
        SHAKESPEARE,
    ),
    "wikitext2-train": _one(
        "wikitext2_train.txt", "9b47c90640f5cb58a9ba56c000598232cb46976fcb09b23d70fd8547b5ec92d3", "CC BY-SA"
    ),
    "wikitext2-valid": _one(
        "wikitext2_valid.txt", "f0737ed31fc1329026e95cb8b98e19c2a182c39c240ab909dc31abf2f8af58e8", "CC BY-SA"
    ),
    "wikitext2-test": _one(
        "wikitext2_test.txt", "d790b833ef8cf03a90db7bf1271b7520b83c45ce07ba3c1a9699df81e239eca0", "CC BY-SA"
    ),
    "lambada-test": _one(
        "lambada_test.jsonl", "4aa8d02cd17c719165fc8a7887fddd641f43fcafa4b1c806ca8abc31fabdb226", "CC BY"
    ),
    "piqa-valid": Dataset(
        files=(
            File("language/piqa_valid.jsonl", "93503cc97c679e459b065c3d13e848282e44b2a25213985bed3e5d458abef72d"),
            File("language/piqa_valid_labels.lst", "b4192dc3a2a0363d9d60ccf79800cbbe2f32ebb17726efdde6970e0b8131bceb"),
        ),
        licence="AFL-3.0",
    ),
}


def load_topics() -> str:
    """Return the embedded text: the reference chapters behind Python's `help()`, some 465,000 characters of English.

    It differs a little between versions of Python.
    """
    from titans_seq.domains.language.text import embedded_text

    return embedded_text()
