#!/usr/bin/env python3
"""The official openai client against ds-run serve: openai_client.py BUILD_FOLDER [MODEL]

MODEL is a folder with a tokenizer; without it a tiny one is made. Exits with 77 where the client is not installed.
"""
import json
import os
import re
import subprocess
import sys
import tempfile

try:
    import openai
except ImportError:
    print("skipped: the package openai is not installed")
    sys.exit(77)

CONFIG = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 270, "hidden_size": 32,
          "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
          "max_position_embeddings": 2048, "rms_norm_eps": 1e-6, "hidden_act": "silu", "tie_word_embeddings": False,
          "initializer_range": 0.3, "bos_token_id": 0, "eos_token_id": 0}
TEMPLATE = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant:"


def make_model(tools, folder):
    def run(tool, *words):
        subprocess.run([os.path.join(tools, tool), *words], check=True, cwd=folder)
    with open(os.path.join(folder, "config.json"), "w") as f:
        json.dump(CONFIG, f)
    with open(os.path.join(folder, "train.jsonl"), "w") as f:
        f.write('{"text": "the cat sat on the mat, the cat"}\n')
    run("ds-train", "tokenizer", "--vocab-size", "270", "--pretokenizer", "gpt2", "train.jsonl", "-o", "tokenizer.json")
    run("ds-train", "pretrain", "--init", "config.json", "--tokenizer", "tokenizer.json", "--data", "train.jsonl", "--steps", "1",
        "--batch-size", "1", "--sequence-length", "8", "-o", "model")
    return os.path.join(folder, "model")


def check(client, name):
    assert [m.id for m in client.models.list()] == [name]
    assert client.models.retrieve(name).id == name
    extra = {"ignore_eos": True}
    whole = client.completions.create(model=name, prompt="the cat", max_tokens=24, temperature=0, extra_body=extra)
    assert whole.choices[0].finish_reason == "length" and whole.usage.completion_tokens == 24
    pieces = list(client.completions.create(model=name, prompt="the cat", max_tokens=24, temperature=0, stream=True,
                                            stream_options={"include_usage": True}, extra_body=extra))
    assert "".join(p.choices[0].text for p in pieces if p.choices) == whole.choices[0].text
    assert pieces[-1].usage.completion_tokens == 24
    several = client.completions.create(model=name, prompt=["the", "a"], n=2, max_tokens=4, temperature=0.9, seed=7, logprobs=2, extra_body=extra)
    assert [c.index for c in several.choices] == [0, 1, 2, 3] and len(several.choices[0].logprobs.token_logprobs) == 4

    messages = [{"role": "system", "content": "short"}, {"role": "user", "content": "the cat?"}]
    chat = client.chat.completions.create(model=name, messages=messages, max_tokens=12, temperature=0, logprobs=True, top_logprobs=2, extra_body=extra)
    assert chat.choices[0].message.role == "assistant" and len(chat.choices[0].logprobs.content) == 12
    text = ""
    for piece in client.chat.completions.create(model=name, messages=messages, max_tokens=12, temperature=0, stream=True, extra_body=extra):
        text += piece.choices[0].delta.content or ""
    assert text == chat.choices[0].message.content
    valid = client.chat.completions.create(model=name, messages=messages, max_tokens=200, temperature=0, response_format={
        "type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object", "properties": {"a": {"type": "boolean"}},
                                                                          "required": ["a"], "additionalProperties": False}}})
    assert isinstance(json.loads(valid.choices[0].message.content)["a"], bool)

    floats = client.embeddings.create(model=name, input=["the cat", "the mat"], encoding_format="float")
    packed = client.embeddings.create(model=name, input=["the cat", "the mat"])  # the client asks for base64
    assert [e.embedding for e in floats.data] == [e.embedding for e in packed.data] or all(
        abs(a - b) < 1e-6 for x, y in zip(floats.data, packed.data) for a, b in zip(x.embedding, y.embedding))

    for error, call in ((openai.NotFoundError, dict(model="other")), (openai.BadRequestError, dict(temperature=-1)),
                        (openai.BadRequestError, dict(max_tokens=10**9))):
        try:
            client.completions.create(**{"model": name, "prompt": "a", "max_tokens": 1, **call})
            raise AssertionError(f"no {error.__name__} for {call}")
        except error as e:
            assert e.body["message"]
    try:
        openai.OpenAI(base_url=str(client.base_url), api_key="wrong", max_retries=0).models.list()
        raise AssertionError("a wrong key was let in")
    except openai.AuthenticationError:
        pass


def main():
    tools = os.path.abspath(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        model = os.path.abspath(sys.argv[2]) if len(sys.argv) > 2 else make_model(tools, folder)
        template = os.path.join(folder, "chat.jinja")
        with open(template, "w") as f:
            f.write(TEMPLATE)
        server = subprocess.Popen([os.path.join(tools, "ds-run"), "serve", "--model", model, "--model-name", "m", "--chat-template", template,
                                   "--port", "0"], stderr=subprocess.PIPE, text=True, env={**os.environ, "DS_API_KEY": "secret"})
        try:
            port = re.search(r":(\d+)$", server.stderr.readline().strip()).group(1)
            check(openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="secret", max_retries=0, timeout=60), "m")
        finally:
            server.terminate()
        assert server.wait(60) == 0
    print(f"openai {openai.__version__}: all well")


main()
