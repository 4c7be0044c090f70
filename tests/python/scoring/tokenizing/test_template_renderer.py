"""Chat templates are written out, or refused, as transformers does it."""

from pathlib import Path
from typing import Any

import pytest
from jinja2 import TemplateError
from jinja2.exceptions import SecurityError
from tiny_tokenizers import save_tokenizer
from transformers import AutoTokenizer

from sycophancy_core import ModelError
from sycophancy_core.scoring.chat_template import template_facts, write_out
from sycophancy_core.scoring.tokenizing import template_renderer
from sycophancy_core.scoring.tokenizing.light_tokenizer import light_tokenizer
from sycophancy_core.scoring.tokenizing.template_renderer import render

TEMPLATES = {
    "blocks on lines of their own": """
    {%- for m in messages %}
        {%- if loop.first and m.role != 'system' %}
            {{- '<|system|>\\nBe good.\\n' }}
        {%- endif %}
    <|{{ m['role'] }}|>
{{ m.content | trim }} {# a note #}
    {% endfor %}
{% if add_generation_prompt %}<|assistant|>{% endif %}
""",
    "breaks and skips": (
        "{% for m in messages %}{% if m.role == 'system' %}{% continue %}{% endif %}{{ m.content }}|"
        "{% if loop.index == 2 %}{% break %}{% endif %}{% endfor %}"
    ),
    "JSON": (
        "{{ messages | tojson }}{{ {'b': 1, 'a': 'é<&>'} | tojson(indent=2, sort_keys=True) }}{{ tools }}"
        "{{ documents }}"
    ),
    "what the assistant says": (
        "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{% endgeneration %}"
        "{% else %}[{{ m.content }}]{% endif %}{% endfor %}{{ add_generation_prompt }}"
    ),
    "names kept": (
        "{% set ns = namespace(found=false, self=3) %}{% for m in messages %}{% if m.role == 'user' %}"
        "{% set ns.found = true %}{% endif %}{% endfor %}{{ ns.found }}{{ ns.self }}{{ dict(a=1) }}"
        "{{ dict.fromkeys('ab') }}"
    ),
    "special tokens": (
        "{{ bos_token }}{{ eos_token }}{{ pad_token }}{{ image_token }}{{ messages[0].content }}{{ nothing }}"
    ),
    "a macro": (
        "{% macro turn(m) %}<{{ m.role }}>{{ m.content }}{% endmacro %}{% for m in messages %}{{ turn(m) }}{% endfor %}"
    ),
    "thinking": (
        "{% if not enable_thinking %}<think></think>{% endif %}{{ messages[-1].content }}{{ date_string }}"
        "{{ thinking }}"
    ),
    "a thought begun": "{{ messages[-1].content }}{% if add_generation_prompt %}<think>\n{% endif %}",
    "the day": "{{ strftime_now('%d %B %Y %%') }}{{ messages[0].content }}",
    "reasoning asked for": (
        "{% for m in messages %}{{ m.reasoning_content }}{{ m.thinking is defined }}{{ m.content }}{% endfor %}"
    ),
}
REFUSED = {
    "raises": "{{ raise_exception('no ' + messages[0].role) }}",
    "is damaged": "{% for %}",
    "asks a string for its format": "{{ ''.format_map }}{{ ''.__class__ }}{{ ''.__class__.__mro__ }}",
    "changes a list": "{{ messages.append(1) }}",
    "names with underscores": "{% set ns = namespace(_x=1) %}",
    "sets names with underscores": "{% set ns = namespace() %}{% set ns.__init__ = 1 %}",
    "calls what is not there": "{{ nothing() }}",
}
DIALOGUES: list[list[dict[str, Any]]] = [
    [{"role": "user", "content": " What is 1 + 1?  \n"}],
    [{"role": "system", "content": "Be brief. é"}, {"role": "user", "content": "<b>&amp;</b>"}],
    [{"role": "user", "content": "A\n\nB"}, {"role": "assistant", "content": " It is"}],
    [{"role": role, "content": f"{role} 🙂"} for role in ("user", "assistant", "user", "assistant", "user")],
    [{"role": "user", "content": "no name", "name": None}],
]


@pytest.fixture
def both(tmp_path: Path) -> tuple[Any, Any]:
    folder = save_tokenizer("byte-level, prefixed, lower case", tmp_path, form="new")
    light = light_tokenizer(folder, {"model_type": "olmo2"})
    return light, AutoTokenizer.from_pretrained(folder, local_files_only=True)


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_is_written_out_as_transformers_does_it(name: str, both: tuple[Any, Any]) -> None:
    for one in both:
        one.chat_template = TEMPLATES[name]
    for dialogue in DIALOGUES:
        for for_reply in (False, True):
            found, wanted = (write_out(one, dialogue, for_reply=for_reply) for one in both)
            assert found == wanted
    found, wanted = (template_facts(one, "Think.") for one in both)
    assert found == wanted


@pytest.mark.parametrize("name", REFUSED)
def test_a_template_that_transformers_refuses_is_refused(name: str, both: tuple[Any, Any]) -> None:
    said = []
    for one in both:
        one.chat_template = REFUSED[name]
        try:
            said.append(one.apply_chat_template(DIALOGUES[0], tokenize=False))
        except TemplateError as error:
            said.append((type(error), str(error)))
    assert said[0] == said[1]
    assert not isinstance(said[0], str) or name == "asks a string for its format"


def test_the_sandbox_keeps_a_template_in() -> None:
    with pytest.raises(SecurityError):
        render("{{ messages.__class__.__mro__[1].__subclasses__() }}", DIALOGUES[0], {})


def test_an_older_jinja_is_not_trusted_with_templates(monkeypatch: pytest.MonkeyPatch) -> None:
    for version in ("3.1.5", "2.11", "3.0.0"):
        template_renderer._compiled.cache_clear()
        with monkeypatch.context() as patch:
            patch.setattr(template_renderer.metadata, "version", lambda _, found=version: found)
            with pytest.raises(ModelError, match=rf"wanted Jinja2 3\.1\.6 or newer, .*got {version}; update it"):
                render("x", DIALOGUES[0], {})
    assert render("x", DIALOGUES[0], {}) == "x"
