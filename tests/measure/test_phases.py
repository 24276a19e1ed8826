"""Phases from runs whose energies are sums of known phases, and what a design cannot tell."""

from __future__ import annotations

import math
from itertools import product

import pytest
from fakes import source_info
from phase_records import record_of_batch

from harness.errors import UserInputError
from harness.measure.alike import differences, setting
from harness.measure.phases import fit_phases, phase_groups
from harness.measure.phases_design import row_of

TRUTH = {"fixed": 0.7, "prefill": 0.002, "decode step": 1.0, "decode": 0.04, "request": 0.03}
IMAGE_TRUTH = {"fixed": 0.7, "text encoder": 0.6, "denoising": 20.0, "decoder": 8.0}


def text_run(batch: int, tokens_in: int, tokens_out: int, **changes):
    energy_j = (
        TRUTH["fixed"]
        + TRUTH["request"] * batch
        + TRUTH["prefill"] * batch * tokens_in
        + TRUTH["decode step"] * tokens_out
        + TRUTH["decode"] * batch * tokens_out
    )
    return record_of_batch(energy_j * changes.pop("factor", 1.0), batch, tokens_in, tokens_out, **changes)


def image_run(batch: int, steps: int, width: int, **changes):
    megapixels = 512 * width / 1e6
    per_image_j = IMAGE_TRUTH["text encoder"] + megapixels * (IMAGE_TRUTH["denoising"] * steps + IMAGE_TRUTH["decoder"])
    energy_j = IMAGE_TRUTH["fixed"] + batch * per_image_j
    return record_of_batch(energy_j, batch, image={"steps": steps, "width": width, "height": 512}, **changes)


def text_design(batches=(1, 8), inputs=(32, 1024), outputs=(16, 128), **changes):
    return [text_run(b, i, n, **changes) for b, i, n in product(batches, inputs, outputs)]


def values_of(fit) -> dict[str, float]:
    return {phase.name: phase.energy_j.value for phase in fit.phases}


# --- what is found ---


def test_phases_of_text_are_found_again():
    fit = fit_phases(text_design())
    assert values_of(fit) == pytest.approx(TRUTH, rel=1e-6)
    assert (fit.kind, fit.untold, fit.degrees, fit.inflation) == ("text", (), 3, 1.0)
    assert fit.held_out is not None
    assert (fit.held_out.runs, fit.held_out.within) == (8, 8)
    assert fit.held_out.largest_relative < 1e-6
    assert fit.simulated


def test_phases_of_images_are_found_again():
    fit = fit_phases([image_run(*each) for each in product((1, 4), (10, 40), (512, 1024))])
    assert values_of(fit) == pytest.approx(IMAGE_TRUTH, rel=1e-6)
    assert [phase.unit for phase in fit.phases] == ["J/batch", "J/image", "J/(step Mpx)", "J/Mpx"]


def test_a_runs_parts_add_up_to_its_fitted_energy():
    for run in fit_phases(text_design()).runs:
        assert math.fsum(run.parts_j.values()) == pytest.approx(run.fitted_j)
        assert run.parts_j["prefill"] == pytest.approx(TRUTH["prefill"] * run.batch_size * run.input_tokens)


def test_gain_and_offset_are_shared_and_never_averaged():
    # Known to 1 % and 0.5 W: the gain scales every phase; all batches last 0.1 s, so the offset is 50 mJ per batch.
    for copies in (1, 4):
        fit = fit_phases([run for _ in range(copies) for run in text_design(sources=(source_info(),))])
        shared = {phase.name: phase.shared_u_j for phase in fit.phases}
        assert shared["decode"] == pytest.approx(0.01 * TRUTH["decode"], rel=1e-6)
        assert shared["fixed"] == pytest.approx(math.hypot(0.01 * TRUTH["fixed"], 0.5 * 0.1), rel=1e-6)
    assert {phase.own_u_j for phase in fit.phases} != {0.0}


def test_own_doubt_of_a_run_is_its_scatter_widened_for_few_windows():
    # Windows at -0.1, 0, +0.1 % of 100 J: s = 0.1 J, t(0.95, 2) = 4.3027 over 1.96 and sqrt(3).
    row = row_of(record_of_batch(100.0))
    assert row.own_u_j == pytest.approx(0.1 * 4.30265 / 1.959964 / math.sqrt(3), rel=1e-4)
    assert (row.energy_j, row.gain_j, row.offset_j) == (pytest.approx(100.0), pytest.approx(1.0), pytest.approx(0.05))


def test_runs_that_scatter_beyond_what_they_state_widen_the_errors_and_say_so():
    runs = text_design()
    runs[0] = text_run(1, 32, 16, factor=1.2)
    fit = fit_phases(runs)
    assert fit.inflation > 3
    assert any("scatter about the fit" in warning for warning in fit.warnings)
    assert fit.held_out is not None
    assert fit.held_out.within < 8


def test_a_negative_phase_is_named_with_what_its_interval_says():
    runs = [
        record_of_batch(10.0 + 1.0 * n - 0.002 * i * b, b, i, n, scatter=1e-5)
        for b, i, n in product((1, 2), (32, 1024), (16, 128))
    ]
    prefill = next(phase for phase in fit_phases(runs).phases if phase.name == "prefill")
    assert prefill.energy_j.value == pytest.approx(-0.002)
    assert prefill.warning is not None
    assert "with its whole interval" in prefill.warning
    noisy = [
        record_of_batch(10.0 + 1.0 * n - 0.0001 * i * b, b, i, n, scatter=0.05)
        for b, i, n in product((1, 2), (32, 1024), (16, 128))
    ]
    fit = fit_phases(noisy)
    (warning,) = [phase.warning for phase in fit.phases if phase.name == "prefill"]
    assert warning is not None
    assert "zero lies in its interval" in warning
    assert warning in fit.warnings


# --- what cannot be told ---


def test_one_batch_size_leaves_steps_and_tokens_together_and_says_so():
    fit = fit_phases(text_design(batches=(8,), inputs=(32, 512, 1024)))
    # At batch 8 a token carries an eighth of its step; the fixed part holds eight requests'.
    assert values_of(fit) == pytest.approx(
        {"fixed": 0.7 + 8 * 0.03, "prefill": 0.002, "decode": 0.04 + 1.0 / 8}, rel=1e-6
    )
    assert {(each.name, each.into) for each in fit.untold} == {("decode step", "decode"), ("request", "fixed")}
    assert {each.reason for each in fit.untold} == {"the batch size does not vary"}


def test_images_of_one_size_and_batch_keep_all_but_the_steps_together():
    fit = fit_phases([image_run(1, steps, 512) for steps in (10, 20, 40)])
    assert set(values_of(fit)) == {"fixed", "denoising"}
    assert {(each.name, each.into) for each in fit.untold} == {("text encoder", "fixed"), ("decoder", "fixed")}


def test_truth_is_not_put_beside_a_phase_that_holds_another():
    fit = fit_phases(text_design(batches=(8,), inputs=(32, 512, 1024)), TRUTH)
    assert {phase.name: phase.true_value_j for phase in fit.phases} == {"fixed": None, "prefill": 0.002, "decode": None}


def test_too_few_runs_for_every_phase_leave_the_last_ones_out():
    runs = [text_run(*each) for each in ((1, 32, 16), (8, 1024, 16), (1, 32, 128), (8, 32, 128), (1, 1024, 128))]
    fit = fit_phases(runs)
    assert [each.name for each in fit.untold] == ["request"]
    assert fit.untold[0].reason == "5 runs are too few for one phase more"


@pytest.mark.parametrize(
    ("runs", "told"),
    [
        (lambda: text_design(inputs=(32,), outputs=(16, 64, 128)), "The input length does not vary over these 6 runs"),
        (lambda: text_design(outputs=(16,), inputs=(32, 64, 99)), "The output length does not vary over these 6 runs"),
        (
            lambda: text_design(batches=(1, 2, 4, 8), inputs=(32,), outputs=(16,)),
            "The input length and the output length",
        ),
        (lambda: [text_run(1, k, k) for k in (16, 32, 64, 128)], "vary only together"),
        (lambda: text_design()[:3], "3 comparable runs cannot tell 3 phases"),
        (
            lambda: [image_run(b, 10, w) for b in (1, 4) for w in (512, 1024)],
            "The number of steps does not vary over these 4 runs",
        ),
    ],
)
def test_a_design_that_cannot_tell_names_what_is_missing(runs, told):
    with pytest.raises(UserInputError, match=told) as caught:
        fit_phases(runs())
    assert caught.value.hint


def test_a_run_without_a_doubt_of_its_own_cannot_be_weighed():
    with pytest.raises(UserInputError, match="states no doubt of its own"):
        fit_phases([*text_design(), text_run(2, 64, 64, scatter=0.0)])


# --- what may not be mixed ---

OTHER_BOARD = source_info(id="GPU-1")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"dtype": "bfloat16"}, "dtype: float16, bfloat16"),
        ({"model": {"id": "another"}}, "model: assumed/small-text, another"),
        ({"sources": (OTHER_BOARD,)}, "board: Fake GPU \\(GPU-0\\), Fake GPU \\(GPU-1\\)"),
        ({"sources": (source_info(), OTHER_BOARD)}, "boundary: gross energy of the 1 GPU .* 2 GPUs"),
        ({"origin": "measured"}, "origin: simulated, measured"),
        ({"attention": "sdpa"}, "attention: default, sdpa"),
    ],
)
def test_runs_that_differ_in_more_than_work_are_not_mixed(changes, told):
    with pytest.raises(UserInputError, match=told):
        fit_phases([*text_design(), text_run(2, 64, 64, **changes)])


def test_groups_are_fitted_apart():
    mixed = [*text_design(), *text_design(dtype="bfloat16"), *[image_run(1, steps, 512) for steps in (10, 20)]]
    assert [len(group) for group in phase_groups(mixed)] == [8, 8, 2]


def test_seed_and_lengths_are_no_other_setting():
    one, two = text_run(1, 32, 16), text_run(8, 1024, 128, seed=5)
    assert differences([setting(one), setting(two)]) == []
