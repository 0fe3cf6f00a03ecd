"""Train a small language model on the English that comes with Python; score a stream and let it write.

python examples/language.py
"""

from titans_seq import TitansLM
from titans_seq.domains.language import load_topics

text = load_topics()
train, test = text[:200_000], text[200_000:205_000]

model = TitansLM(dim=48, layers=2, max_epochs=2, epoch_steps=40, context=256, random_state=0).fit(train)
print(f"{model.bits_per_byte(test):.2f} bits per byte of a text it has not seen, read as one stream")

for piece in model.stream("The value of the expression", max_new_tokens=120, temperature=0.7, seed=1):
    print(piece, end="", flush=True)
print()

trace = model.surprise("A plain sentence about names. Zażółć gęślą jaźń! And another plain sentence.")
print(f"the most unexpected byte is number {trace['bits'].idxmax() + 1} of {len(trace)}")
