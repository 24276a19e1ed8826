"""The built-in inputs for reading tasks: distinct, of the lengths they claim, the same for ever."""

from __future__ import annotations

import hashlib
import statistics
from collections.abc import Callable, Sequence

import pytest

from harness.tasks.base import MASK
from harness.tasks.builtin_reading import articles, masked_sentences, name_sentences, questions, reviews

SETS: dict[str, tuple[Callable[[], Sequence[str]], int, int, int]] = {
    "reviews": (reviews, 5, 33, 89),
    "masked": (masked_sentences, 12, 18, 28),
    "names": (name_sentences, 15, 22, 30),
    "articles": (articles, 227, 247, 268),
    "contexts": (lambda: [context for _, context in questions()], 69, 85, 108),
}


@pytest.mark.parametrize("name", SETS)
def test_a_set_has_a_thousand_texts_of_the_lengths_it_claims(name: str) -> None:
    make, least, median, most = SETS[name]
    texts = make()
    lengths = [len(text.split()) for text in texts]
    assert len(texts) == 1000
    assert (min(lengths), statistics.median_high(lengths), max(lengths)) == (least, median, most)
    assert not any(mark in text for text in texts for mark in "{}|")


@pytest.mark.parametrize("name", ["reviews", "masked", "names", "articles"])
def test_the_texts_of_a_set_differ(name: str) -> None:
    assert len(set(SETS[name][0]())) == 1000


def test_a_question_is_answered_in_its_text() -> None:
    pairs = questions()
    assert len(set(pairs)) == 1000
    for question, context in pairs:
        assert question.endswith("?")
        if question.startswith("On which river"):
            town = question.removeprefix("On which river does ").removesuffix(" lie?")
            assert town in context


def test_a_masked_sentence_has_exactly_one_gap() -> None:
    assert {text.count(MASK) for text in masked_sentences()} == {1}


def test_the_sets_do_not_change() -> None:
    found = {name: hashlib.sha256("\n".join(make()).encode()).hexdigest()[:12] for name, (make, *_) in SETS.items()}
    assert found == EXPECTED


EXPECTED = {
    "reviews": "b7fbfaace37f",
    "masked": "fa39a9ab7b99",
    "names": "68a9d04e2cad",
    "articles": "a15a47ed0227",
    "contexts": "83bac42be85c",
}
