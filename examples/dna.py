"""Tell coding from other windows of a chloroplast genome, and see which letters matter.

python examples/dna.py
"""

from sklearn.model_selection import train_test_split

from titans_seq import TitansDNAClassifier
from titans_seq.domains.genomics import load_chloroplast
from titans_seq.domains.genomics.mutagenesis import mutagenesis

sequences, labels = load_chloroplast()
train, test, y_train, y_test = train_test_split(sequences, labels, random_state=0)

model = TitansDNAClassifier(max_epochs=4, random_state=0).fit(train, y_train)
print(f"accuracy on windows it has not seen: {model.score(test, y_test):.2f}")

effects = mutagenesis(model, test[0])  # the change of the log-odds by every substitution
letters = effects[["A", "C", "G", "T"]].abs().max(axis=1)
print(f"the letter that matters most stands at position {letters.idxmax() + 1} of {len(effects)}")
