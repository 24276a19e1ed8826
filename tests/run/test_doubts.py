"""What is said of a run beside its windows."""

from __future__ import annotations

from harness.measure.served import Attempt, account
from harness.records import Measurement, WorkCounts
from harness.run.doubts import of_cuts, of_prompts
from harness.serving import ServerOptions
from harness.specs import RunSpec


def test_prompts_that_repeat_are_told_in_an_open_loop_by_what_was_in_flight() -> None:
    content = {"task": "text-generation", "engine": "openai", "model": "m"}
    options = {"base_url": "http://127.0.0.1:1", "request_rate_hz": 2.0}
    spec = RunSpec.model_validate(content | {"model": {"id": "m"}, "server": options})
    # Five in flight for half of the time, none in the other half: 2.5 on average.
    attempts = [Attempt(0.0, 0.0, pieces_s=[1.0], ended_s=1.0) for _ in range(5)]
    served = account(attempts, (), 0.0, 2.0, ServerOptions.model_validate(options), 1).served
    assert of_prompts(spec, 3, served) == []
    (caveat,) = of_prompts(spec, 2, served)
    assert "2 prompts, and 3 are answered at once" in caveat.message


def test_texts_that_the_model_cut_are_counted_in_the_windows_that_count() -> None:
    def window(cut: int, rejected: bool = False) -> Measurement:
        work = WorkCounts(requests=8, inputs_cut=cut)
        return Measurement(label="w", start_s=0, end_s=1, busy_s=1, sources=(), work=work, rejected=rejected)

    assert of_cuts([window(0), window(4, rejected=True)]) == []
    (caveat,) = of_cuts([window(3), window(2), window(8, rejected=True)])
    assert caveat.code == "inputs-cut"
    assert "5 of 16 requests" in caveat.message
