"""The built-in prompts: a thousand each, all different, real lengths, and the same for ever."""

from __future__ import annotations

import hashlib
import re

import pytest

from harness.tasks.builtin import image_prompts, text_prompts

# A changed prompt is another experiment: these change only together with a line in the changelog.
TEXT_SHA256 = "cd95e224850fa0b57e244387b769a92715fad46c39c07b7fda8b49c85ff72315"
IMAGE_SHA256 = "22f84259b7b5cd1ce8c419ce0f5c69eb7797b290b4534fcc46c13717e39bb6a1"

BOTH = pytest.mark.parametrize("prompts", [text_prompts(), image_prompts()], ids=["text", "image"])


def digest(prompts: tuple[str, ...]) -> str:
    return hashlib.sha256("\n".join(prompts).encode()).hexdigest()


def word_counts(prompts: tuple[str, ...]) -> list[int]:
    return sorted(len(prompt.split()) for prompt in prompts)


@BOTH
def test_there_are_exactly_a_thousand_different_prompts(prompts: tuple[str, ...]) -> None:
    assert len(prompts) == 1000
    assert len(set(prompts)) == 1000


def test_the_sets_are_the_same_on_every_machine_and_in_every_version() -> None:
    assert digest(text_prompts()) == TEXT_SHA256
    assert digest(image_prompts()) == IMAGE_SHA256


def test_text_prompts_have_the_lengths_of_real_ones() -> None:
    counts = word_counts(text_prompts())
    assert counts[0] >= 5
    assert counts[-1] <= 65
    assert counts[100] <= 20, "a tenth is short"
    assert counts[900] >= 40, "a tenth is long"


def test_image_prompts_have_the_lengths_of_real_ones() -> None:
    counts = word_counts(image_prompts())
    assert counts[0] >= 3
    assert counts[-1] <= 55
    assert counts[100] <= 8, "a tenth is short"
    assert counts[900] >= 30, "a tenth is long"


@BOTH
def test_no_slot_is_left_and_no_space_is_doubled(prompts: tuple[str, ...]) -> None:
    faults = re.compile(r"[{}/]|\s\s|^\s|\s$|\n|\s[,.;:?]|\.\.|\ba [aeio]|\ban [^aeiouh]")
    assert [prompt for prompt in prompts if faults.search(prompt)] == []


def test_every_text_prompt_begins_with_a_capital_or_a_quotation_mark() -> None:
    assert [prompt for prompt in text_prompts() if not (prompt[0].isupper() or prompt[0] == '"')] == []


@BOTH
def test_the_first_tenth_is_a_fair_sample(prompts: tuple[str, ...]) -> None:
    mean_of_first = sum(word_counts(prompts[:100])) / 100
    mean_of_all = sum(word_counts(prompts)) / 1000
    assert mean_of_first == pytest.approx(mean_of_all, rel=0.1)
