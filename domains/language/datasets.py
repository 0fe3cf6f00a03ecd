"""Public texts by name, see `titans_seq.datasets`."""

from titans_seq.datasets import Dataset, File

SHAKESPEARE = "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt"


BABI = {
    "qa1_single-supporting-fact": (
        "c64ba9b1a49bbb111ffc4cd2ae4f129d25c012399dd7ade9679eea464b9afb05",
        "55acf66cef2f6d798e2aa1d056e1ec8f24e910ea9215b639450574321132959b",
    ),
    "qa2_two-supporting-facts": (
        "a4978af5bc0dc30191810e7c9949aaa6eae939ed0f6beb9fcb5f4330c2a27860",
        "eff93fb9cd81ba02eb765772cf7cc269769ed44ec71cbbbc19cfb16ee5eba0f6",
    ),
    "qa3_three-supporting-facts": (
        "a6e78019f36a02a7ed71fe6aaded0b563ff09c8deec392931801fcd9c6af4d60",
        "17795c977100baf8188f386522ae301b62d6c1a13efc01b3aea781e588b4d57f",
    ),
    "qa4_two-arg-relations": (
        "c9370502d85fa382f32d1fea2111e817f81ae9e3e79eb2924a1a5392a90417fa",
        "07f0ca18ddeea9eed4ba6d59e162adcb0ce44815721114b3540d92825509331e",
    ),
    "qa5_three-arg-relations": (
        "086cd59c3ca9677bfac3d6a22ca5853c76a5c1fbae3159c7c4a6aef759a74ec0",
        "ec825c1c8a76e63a31f0d7a7763cd63740e98332fa9bdf246a19068949bd5f97",
    ),
}
"""Sums of the training and test files of bAbI's first tasks, 1,000 questions each."""


def _one(path: str, sha256: str, licence: str, url: str | None = None) -> Dataset:
    return Dataset(files=(File(f"language/{path}", sha256, url),), licence=licence)


def _babi(name: str, train: str, test: str) -> Dataset:
    parts = {"train": train, "test": test}
    return Dataset(
        files=tuple(File(f"language/babi/{name}_{part}.txt", sha256) for part, sha256 in parts.items()), licence="BSD"
    )


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
    **{f"babi-{name[:3]}": _babi(name, *sums) for name, sums in BABI.items()},
}


def load_topics() -> str:
    """Return the embedded text: the reference chapters behind Python's `help()`, some 465,000 characters of English.

    It differs a little between versions of Python.
    """
    from titans_seq.domains.language.text import embedded_text

    return embedded_text()
