"""A language model as `transformers` calls, generates with, trains, saves and loads it."""

import json
import os
import subprocess
import sys

import pytest
import torch

from titans_seq.backbone.presets import preset
from titans_seq.domains.language import TitansLM
from titans_seq.domains.language.byte_pairs import BytePairs
from titans_seq.domains.language.vocabulary import Bytes, Symbols
from titans_seq.errors import ModelError

transformers = pytest.importorskip("transformers", reason="needs the extra `transformers`")

from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer  # noqa: E402

from titans_seq.domains.language.hugging_face import (  # noqa: E402
    TitansCache,
    TitansConfig,
    TitansForCausalLM,
    export_model,
    make_tokenizer,
)

SIZE = {"dim": 16, "layers": 2, "heads": 2, "window": 8, "chunk_size": 4}
VARIANTS = ["lmm", "mac", "mag", "mal", "attention"]


def build(variant="mag", **options):
    torch.manual_seed(0)
    model = TitansForCausalLM(TitansConfig(variant=variant, **SIZE, **options)).eval()
    torch.nn.init.normal_(model.network.embedding.weight, std=0.5)
    return model


def tokens(*shape, seed=0):
    return torch.randint(256, shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("variant", VARIANTS)
@torch.no_grad()
def test_logits_are_ours_whole_in_pieces_and_padded(variant, monkeypatch):
    model, x = build(variant).double(), tokens(2, 29)
    expected = model.network(x)[0]
    torch.testing.assert_close(model(x).logits, expected, atol=1e-5, rtol=0)
    cache, found = None, []
    for piece in x.split([1, 13, 1, 14], 1):
        output = model(piece, past_key_values=cache, use_cache=True)
        cache = output.past_key_values
        found.append(output.logits)
    torch.testing.assert_close(torch.cat(found, 1), expected, atol=1e-5, rtol=0)
    assert cache.get_seq_length() == 29
    for left in (5, 0):
        padded = torch.nn.functional.pad(x, (left, 5 - left), value=7)
        mask = torch.nn.functional.pad(torch.ones_like(x), (left, 5 - left))
        logits = model(padded, attention_mask=mask).logits[:, left : left + 29]
        torch.testing.assert_close(logits, expected, atol=1e-5, rtol=0)
    monkeypatch.setattr("titans_seq.domains.language.hugging_face.model.PIECE", 6)
    torch.testing.assert_close(model(x).logits, expected, atol=1e-5, rtol=0)
    hidden = model(x, output_hidden_states=True).hidden_states
    assert [h.shape for h in hidden] == [(2, 29, 16)] * 3
    torch.testing.assert_close(hidden[-1] @ model.network.embedding.weight.T, expected, atol=1e-5, rtol=0)
    kept = model(x, logits_to_keep=2).logits
    torch.testing.assert_close(kept, expected[:, -2:], atol=1e-5, rtol=0)


@torch.no_grad()
def test_embeddings_instead_of_tokens_and_the_loss():
    model, x = build(), tokens(2, 12)
    output = model(inputs_embeds=model.get_input_embeddings()(x), labels=x)
    torch.testing.assert_close(output.logits, model.network(x)[0])
    expected = torch.nn.functional.cross_entropy(output.logits[:, :-1].flatten(0, 1), x[:, 1:].flatten())
    torch.testing.assert_close(output.loss, expected)
    some = model(x, labels=x.index_fill(1, torch.arange(6), -100), return_dict=False)
    torch.testing.assert_close(
        some[0], torch.nn.functional.cross_entropy(output.logits[:, 5:-1].flatten(0, 1), x[:, 6:].flatten())
    )


def test_generate_says_what_ours_says_of_prompts_of_different_lengths(small_lm):
    model, tokenizer = export_model(small_lm), make_tokenizer(small_lm.vocabulary_)
    prompts = ["The value of", "A", "statement " * 9]
    batch = tokenizer(prompts, return_tensors="pt", padding=True, padding_side="left")
    said = model.generate(**batch, max_new_tokens=20, do_sample=False)[:, batch.input_ids.shape[1] :]
    assert tokenizer.batch_decode(said, skip_special_tokens=True) == small_lm.generate(prompts, 20, temperature=0)
    alone = model.generate(**tokenizer(prompts[0], return_tensors="pt"), max_new_tokens=20, do_sample=False)
    assert tokenizer.decode(alone[0], skip_special_tokens=True) == prompts[0] + small_lm.generate(
        prompts[0], 20, temperature=0
    )
    cold = model.generate(**batch, max_new_tokens=20, do_sample=True, temperature=0.8, use_cache=False)
    torch.manual_seed(3)
    first = model.generate(**batch, max_new_tokens=9, do_sample=True)
    torch.manual_seed(3)
    torch.testing.assert_close(model.generate(**batch, max_new_tokens=9, do_sample=True, use_cache=False), first)
    assert cold.shape[0] == 3


@torch.no_grad()
def test_beams_are_searched_with_the_cache_of_each(small_lm):
    model = export_model(small_lm)
    prompt = torch.tensor([[*b"The value of"], [*b"A statement "]])
    options = {"max_new_tokens": 12, "do_sample": False, "num_beams": 4, "length_penalty": 0.0}
    found = model.generate(prompt, **options)
    torch.testing.assert_close(model.generate(prompt, use_cache=False, **options), found)
    greedy = model.generate(prompt, max_new_tokens=12, do_sample=False)

    def likelihood(rows):
        chances = model(rows).logits.log_softmax(-1)[:, :-1].gather(2, rows[:, 1:, None])[..., 0]
        return chances[:, prompt.shape[1] - 1 :].sum(1)

    assert (likelihood(found) >= likelihood(greedy) - 1e-4).all()


def test_one_folder_for_every_door(small_lm, tmp_path):
    exported, x = export_model(small_lm), tokens(1, 20)
    exported.save_pretrained(tmp_path / "hub")
    make_tokenizer(small_lm.vocabulary_).save_pretrained(tmp_path / "hub")
    small_lm.save(tmp_path / "ours")
    expected = small_lm.network_(x)[0]
    for folder in (tmp_path / "hub", tmp_path / "ours"):
        model = AutoModelForCausalLM.from_pretrained(folder)
        assert isinstance(model, TitansForCausalLM)
        torch.testing.assert_close(model(x).logits, expected, atol=1e-5, rtol=0)
        assert TitansLM.load(folder).generate("The", 9) == small_lm.generate("The", 9)
        assert AutoConfig.from_pretrained(folder).hidden_size == 32
        again = model.generate(x, max_new_tokens=30, do_sample=False)
        assert again.tolist() == exported.generate(x, max_new_tokens=30, do_sample=False).tolist()
    assert (
        f"{sum(p.numel() for p in small_lm.network_.parameters()):,} parameters"
        in (tmp_path / "hub" / "README.md").read_text()
    )
    assert AutoTokenizer.from_pretrained(tmp_path / "hub")("né").input_ids == [110, 195, 169]
    (tmp_path / "hub" / "README.md").write_text("mine")
    exported.save_pretrained(tmp_path / "hub")
    assert (tmp_path / "hub" / "README.md").read_text() == "mine"


@pytest.mark.filterwarnings("ignore:.*Any type hint")
def test_mlflow_opens_it_in_a_process_that_did_not_import_the_package(small_lm, tmp_path):
    import mlflow.transformers

    parts = {"model": export_model(small_lm), "tokenizer": make_tokenizer(small_lm.vocabulary_)}
    needs = ["titans-seq[transformers]"]
    mlflow.transformers.save_model(parts, tmp_path / "run", task="text-generation", pip_requirements=needs)
    assert TitansLM.load(tmp_path / "run/model").generate("The", 9) == small_lm.generate("The", 9)
    code = (
        "import mlflow; speak = mlflow.transformers.load_model('run'); speak.model.save_pretrained('again');"
        "print(speak('The value of', max_new_tokens=9, do_sample=False)[0]['generated_text'], end='')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "HF_HOME": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "The value of" + small_lm.generate("The value of", 9, temperature=0)
    assert {path.name for path in (tmp_path / "again").glob("*.py")} == {"modeling_titans.py"}


@pytest.mark.parametrize(
    "vocabulary", [Bytes(), Symbols("\n abcé"), BytePairs(((97, 98), (256, 99)))], ids=["bytes", "symbols", "pairs"]
)
def test_tokenizers_give_our_tokens(vocabulary, tmp_path):
    make_tokenizer(vocabulary).save_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    for text in ("abc cab\n\n abé", " a", "b"):
        ids = tokenizer(text).input_ids
        assert ids == vocabulary.encode(text).tolist()
        assert tokenizer.decode(ids) == text
    assert tokenizer.eos_token_id == vocabulary.end
    assert len(tokenizer) == vocabulary.size


def test_a_trainer_trains_it(tmp_path):
    pytest.importorskip("accelerate", reason="needs the extra `transformers`")
    model, text = build(), b"to be or not to be, that is the question; "
    rows = [{"input_ids": (x := torch.tensor([*text[i : i + 24]])), "labels": x} for i in range(16)]
    with torch.no_grad():
        before = float(model(rows[0]["input_ids"][None], labels=rows[0]["labels"][None]).loss)
    options = transformers.TrainingArguments(
        str(tmp_path), max_steps=12, learning_rate=1e-2, per_device_train_batch_size=8, report_to=[], use_cpu=True,
        disable_tqdm=True, save_steps=12, logging_steps=100,
    )  # fmt: skip
    transformers.Trainer(model, options, train_dataset=rows).train()
    model.eval()
    with torch.no_grad():
        after = float(model(rows[0]["input_ids"][None], labels=rows[0]["labels"][None]).loss)
    assert after < 0.8 * before
    saved = AutoModelForCausalLM.from_pretrained(tmp_path / "checkpoint-12")
    assert saved.network.embedding.weight.tolist() == model.network.embedding.weight.tolist()


def test_tokens_of_another_tokenizer(tmp_path):
    model, x = build(vocab_size=40, bos_token_id=1, eos_token_id=2), tokens(1, 9) % 40
    model.save_pretrained(tmp_path)
    again = AutoModelForCausalLM.from_pretrained(tmp_path)
    torch.testing.assert_close(again(x).logits, model(x).logits)
    assert "kind" not in json.loads((tmp_path / "config.json").read_text())
    with pytest.raises(ModelError, match="is not a model of titans-seq"):
        TitansLM.load(tmp_path)
    again.resize_token_embeddings(48)
    assert again(x).logits.shape[-1] == 48
    torch.testing.assert_close(again(x).logits[..., :40], model(x).logits)


@pytest.mark.parametrize("variant", VARIANTS[:-1])
@pytest.mark.parametrize(("name", "millions"), [("titans-170m", 170), ("titans-760m", 760)])
def test_presets_are_made_without_memory(variant, name, millions):
    config = TitansConfig.from_backbone(preset(name, variant), vocab_size=32_000, bos_token_id=1, eos_token_id=2)
    with torch.device("meta"):
        model = TitansForCausalLM(config)
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(millions * 1e6, rel=0.01)


@torch.no_grad()
def test_what_does_not_fit_is_refused():
    model, x = build(), tokens(2, 6)
    with pytest.raises(ValueError, match="give either input_ids or inputs_embeds"):
        model()
    with pytest.raises(ValueError, match="must be a TitansCache, not DynamicCache"):
        model(x, past_key_values=transformers.DynamicCache())
    other = build("lmm")(x, use_cache=True).past_key_values
    with pytest.raises(ValueError, match="the state is of another"):
        model(x, past_key_values=other)
    with pytest.raises(ValueError, match="attention_mask must be"):
        model(x, attention_mask=torch.ones(2, 5))
    cache = model(x, use_cache=True).past_key_values
    with pytest.raises(NotImplementedError, match="cannot be cropped"):
        cache.crop(3)
    for wrong in ({"dim": 30}, {"variant": "lstm"}, {"window": None}, {"layers": "two"}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            TitansConfig(**wrong)


@torch.no_grad()
def test_caches_are_selected_repeated_and_reset():
    model, x = build(), tokens(3, 9)
    cache = model(x, use_cache=True).past_key_values
    assert cache.max_batch_size == 3
    assert cache.is_initialized
    cache.batch_select_indices(torch.tensor([2, 0]))
    cache.batch_repeat_interleave(2)
    following = tokens(4, 5, seed=1)
    expected = model(torch.cat([x[[2, 2, 0, 0]], following], 1)).logits[:, 9:]
    torch.testing.assert_close(model(following, past_key_values=cache).logits, expected, atol=1e-5, rtol=0)
    cache.reset()
    assert (len(cache), cache.get_seq_length(), cache.max_batch_size) == (0, 0, 0)
    torch.testing.assert_close(model(x, past_key_values=TitansCache()).logits, model(x, past_key_values=cache).logits)
